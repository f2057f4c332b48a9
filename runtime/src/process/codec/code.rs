//! [`Code`]: the codec of one type, as [`Dispatch`](super::dispatch::Dispatch) chooses it.

use super::{CodecError, Decoder, Direct, Encoder, Wire};

/// The codec of values of type `T`.
///
/// # Safety
///
/// `T` is `Send`.
pub unsafe trait Code<T>: Copy {
    /// Writes a value.
    ///
    /// # Errors
    ///
    /// If the value cannot be sent to another process.
    fn write(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError>;
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// If the next bytes of the message are no such value.
    fn read(&self, input: &mut Decoder<'_>) -> Result<T, CodecError>;
}

/// The codec of a type that has one codec for all its values: serde's or its own.
pub struct Whole<T> {
    write: fn(&T, &mut Encoder<'_>) -> Result<(), CodecError>,
    read: fn(&mut Decoder<'_>) -> Result<T, CodecError>,
}

impl<T> Clone for Whole<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Whole<T> {}

impl<T: Wire> Whole<T> {
    pub(crate) fn by_serde() -> Self {
        Self { write: <T as Wire>::write, read: <T as Wire>::read }
    }
}

impl<T: Direct> Whole<T> {
    pub(crate) fn by_itself() -> Self {
        Self { write: <T as Direct>::write, read: <T as Direct>::read }
    }
}

// SAFETY: a `Whole<T>` is made only by `by_serde` and `by_itself`. Their bounds `Wire` and `Direct` have `Send` as a
// supertrait, so `T` is `Send`.
unsafe impl<T> Code<T> for Whole<T> {
    #[inline]
    fn write(&self, value: &T, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        (self.write)(value, out)
    }

    #[inline]
    fn read(&self, input: &mut Decoder<'_>) -> Result<T, CodecError> {
        (self.read)(input)
    }
}

/// The codec of a `Result`: one codec for `Ok` and one for `Err`.
#[derive(Clone, Copy)]
pub struct Sides<C, D> {
    pub(crate) value: C,
    pub(crate) error: D,
}

// SAFETY: `Code<T>` and `Code<E>` are implemented only where `T` and `E` are `Send`, and then `Result<T, E>` is `Send`.
unsafe impl<T, E, C: Code<T>, D: Code<E>> Code<Result<T, E>> for Sides<C, D> {
    fn write(&self, value: &Result<T, E>, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(&value.is_ok())?;
        match value {
            Ok(value) => self.value.write(value, out),
            Err(error) => self.error.write(error, out),
        }
    }

    fn read(&self, input: &mut Decoder<'_>) -> Result<Result<T, E>, CodecError> {
        let ok: bool = input.value()?;
        if ok { self.value.read(input).map(Ok) } else { self.error.read(input).map(Err) }
    }
}

/// The codec of a function's arguments: a tuple of codecs.
macro_rules! tuple {
    ($($code:ident $type:ident $index:tt)*) => {
        // SAFETY: each `Code<A>` is implemented only where `A` is `Send`, and a tuple of `Send` types is `Send`.
        unsafe impl<$($code: Code<$type>, $type),*> Code<($($type,)*)> for ($($code,)*) {
            #[inline]
            #[allow(unused_variables, reason = "a function without arguments writes nothing")]
            fn write(&self, value: &($($type,)*), out: &mut Encoder<'_>) -> Result<(), CodecError> {
                $(self.$index.write(&value.$index, out)?;)*
                Ok(())
            }

            #[inline]
            #[allow(unused_variables, clippy::unused_unit, reason = "a function without arguments reads nothing")]
            fn read(&self, input: &mut Decoder<'_>) -> Result<($($type,)*), CodecError> {
                Ok(($(self.$index.read(input)?,)*))
            }
        }
    };
}

/// Calls `tuple!` for every prefix of the list behind the semicolon.
macro_rules! tuples {
    ($($code:ident $type:ident $index:tt)*;) => {
        tuple!($($code $type $index)*);
    };
    ($($code:ident $type:ident $index:tt)*; $next:ident $next_type:ident $next_index:tt $($rest:tt)*) => {
        tuple!($($code $type $index)*);
        tuples!($($code $type $index)* $next $next_type $next_index; $($rest)*);
    };
}
tuples!(;
    C0 A0 0 C1 A1 1 C2 A2 2 C3 A3 3 C4 A4 4 C5 A5 5 C6 A6 6 C7 A7 7
    C8 A8 8 C9 A9 9 C10 A10 10 C11 A11 11 C12 A12 12 C13 A13 13 C14 A14 14 C15 A15 15
);
