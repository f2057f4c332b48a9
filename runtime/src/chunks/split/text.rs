//! [`Split`] for text, which is counted in lines and cut at line ends.

use super::Split;

impl Split for &str {
    fn size(&self) -> usize {
        self.lines().count()
    }

    fn cut(self, at: usize) -> (Self, Self) {
        self.split_at(end_of_line(self, at))
    }

    fn cut_all(self, sizes: &[usize]) -> Vec<Self> {
        // From the front, so that each line is scanned once.
        let mut rest = self;
        let mut pieces = Vec::with_capacity(sizes.len());
        for &size in &sizes[..sizes.len().saturating_sub(1)] {
            let (head, tail) = rest.cut(size);
            pieces.push(head);
            rest = tail;
        }
        pieces.push(rest);
        pieces
    }
}

impl Split for String {
    fn size(&self) -> usize {
        self.as_str().size()
    }

    fn cut(mut self, at: usize) -> (Self, Self) {
        let tail = self.split_off(end_of_line(&self, at));
        (self, tail)
    }

    fn cut_all(self, sizes: &[usize]) -> Vec<Self> {
        self.as_str().cut_all(sizes).into_iter().map(String::from).collect()
    }
}

/// The byte offset after the first `lines` lines.
fn end_of_line(text: &str, lines: usize) -> usize {
    text.split_inclusive('\n').take(lines).map(str::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_after_line_ends() {
        let text = "one\r\ntwo\n\nfour";
        assert_eq!(text.size(), 4);
        assert_eq!(text.cut_all(&[1, 2, 1]), ["one\r\n", "two\n\n", "four"]);
        assert_eq!(Split::cut(String::from(text), 3), ("one\r\ntwo\n\n".into(), "four".into()));
    }
}
