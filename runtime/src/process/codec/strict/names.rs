//! The names of fields and variants in a message: each is written once, and then referred to by its number.

use super::Error;
use super::input::Input;

/// The number of a name that gets no number, because all are taken.
const NO_NUMBER: u8 = u8::MAX;

/// The names that were written, in the order of their numbers.
#[derive(Default)]
pub(super) struct WrittenNames {
    names: Vec<(&'static str, Next)>,
    last: u8,
}

/// The number that followed this name last time. Structs of one type follow one another, so it mostly follows again.
type Next = u8;

impl WrittenNames {
    /// The number of a name, and whether it is new. Names count as equal if they are at one address.
    #[inline]
    pub(super) fn number(&mut self, name: &'static str) -> (u8, bool) {
        let is = |known: &&(&'static str, Next)| std::ptr::eq(known.0, name);
        let next = self.names.get(usize::from(self.last)).map_or(0, |last| last.1);
        if self.names.get(usize::from(next)).as_ref().is_some_and(is) {
            self.last = next;
            return (next, false);
        }
        self.search(name)
    }

    #[cold]
    fn search(&mut self, name: &'static str) -> (u8, bool) {
        let found = self.names.iter().position(|known| std::ptr::eq(known.0, name));
        let Ok(number) = u8::try_from(found.unwrap_or(self.names.len())) else { return (NO_NUMBER, true) };
        if number == NO_NUMBER {
            return (number, true);
        }
        if found.is_none() {
            self.names.reserve(16);
            self.names.push((name, 0));
        }
        self.names[usize::from(self.last)].1 = number;
        self.last = number;
        (number, found.is_none())
    }
}

/// A name in the message.
#[derive(Clone, Copy)]
pub(super) struct NameRead<'de> {
    number: usize,
    pub(super) text: &'de str,
}

/// A name that was read. Its place among all is its number.
pub(super) struct Name<'de> {
    text: &'de str,
    /// The address of the type's name that this one was last found equal to.
    equal: usize,
}

impl<'de> Input<'de> {
    /// Reads a name.
    #[inline]
    pub(super) fn name(&mut self) -> Result<NameRead<'de>, Error> {
        let number = usize::from(self.byte()?);
        match self.names.get(number) {
            Some(name) => Ok(NameRead { number, text: name.text }),
            None => self.new_name(number),
        }
    }

    #[cold]
    fn new_name(&mut self, number: usize) -> Result<NameRead<'de>, Error> {
        let text = self.text()?;
        if number != usize::from(NO_NUMBER) {
            if number != self.names.len() {
                return Err(Error::new("it refers to a name that it does not have"));
            }
            self.names.reserve(16);
            self.names.push(Name { text, equal: 0 });
        }
        Ok(NameRead { number, text })
    }

    /// Whether the name that was read equals a name of the type.
    #[inline]
    pub(super) fn is_name(&mut self, read: NameRead<'de>, of_type: &'static str) -> bool {
        let equal = of_type.as_ptr().addr();
        let known = self.names.get_mut(read.number);
        if known.as_ref().is_some_and(|name| name.equal == equal) {
            return true;
        }
        let is_same = same(read.text, of_type);
        if let Some(name) = known.filter(|_| is_same) {
            name.equal = equal;
        }
        is_same
    }
}

/// Whether two names are equal but for their case, so that `userName` is read as `user_name`.
#[cold]
#[inline(never)]
fn same(a: &str, b: &str) -> bool {
    fn letters(name: &str) -> impl Iterator<Item = u8> {
        name.bytes().filter(|byte| !matches!(byte, b'_' | b'-')).map(|byte| byte.to_ascii_lowercase())
    }
    a == b || letters(a).eq(letters(b))
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn names_differ_by_letters_and_not_by_case() {
        assert!(["userName", "UserName", "USER-NAME", "user_name"].iter().all(|name| same(name, "user_name")));
        assert!(["user", "user_names", "name_user", ""].iter().all(|name| !same(name, "user_name")));
    }
}
