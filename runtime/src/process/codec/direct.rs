//! [`Bytes`], and the codecs of bytes and text, which become segments when they are long.

use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CodecError, DecodedBytes, Decoder, Direct, Encoder};
use crate::process::os;
use crate::process::os::refusal::no_memory_for_copy;
use crate::process::transport::segments::ReceivedBytes;

/// Bytes that can be shared, and that a worker process reads in shared memory without a copy.
///
/// As an argument of a `kind = "process"` function, the bytes lie in the shared memory that the caller copied them to,
/// once. As a result they are copied into private memory of the caller's process, as a `Vec<u8>` is, so that a
/// compromised worker cannot change what its parent reads.
///
/// # Examples
///
/// ```
/// use fanfold::Bytes;
///
/// let bytes = Bytes::from(vec![1, 2, 3]);
/// let same = bytes.clone(); // no copy
/// assert_eq!(&same[1..], [2, 3]);
/// ```
#[doc(alias = "shared_memory")]
#[derive(Clone)]
pub struct Bytes(BytesStorage);

#[derive(Clone)]
enum BytesStorage {
    Owned(Arc<Vec<u8>>),
    Received(Arc<ReceivedBytes>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            BytesStorage::Owned(bytes) => bytes,
            BytesStorage::Received(received) => received.bytes(),
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(BytesStorage::Owned(Arc::new(bytes)))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        match bytes.0 {
            BytesStorage::Owned(bytes) => Arc::try_unwrap(bytes).unwrap_or_else(|shared| shared.to_vec()),
            BytesStorage::Received(received) => received.bytes().to_vec(),
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len())
    }
}

/// Inside another type, `Bytes` goes through serde, which copies them.
impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Visit).map(Self::from)
    }
}

impl Direct for Bytes {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.bytes(&[self])
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Ok(match input.bytes()? {
            // The bytes lie in a segment that the worker can write to, and a `&[u8]` must not change.
            DecodedBytes::Segment(received) if received.may_change() => Self::from(copy_out(received.bytes())?),
            DecodedBytes::Segment(received) => Self(BytesStorage::Received(Arc::new(received))),
            DecodedBytes::Inline(bytes) => Self::from(copy_out(bytes)?),
        })
    }
}

/// A private copy of bytes. The other process may write to `bytes` meanwhile, so they are checked in the copy.
fn copy_out(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut copy = Vec::<u8>::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| CodecError::new(no_memory_for_copy(bytes.len())))?;
    os::advise_huge_pages(copy.as_mut_ptr(), copy.capacity());
    copy.extend_from_slice(bytes);
    Ok(copy)
}

impl Direct for Vec<u8> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.bytes(&[self])
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        copy_out(input.bytes()?.as_slice())
    }
}

impl Direct for String {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.bytes(&[self.as_bytes()])
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        String::from_utf8(copy_out(input.bytes()?.as_slice())?).map_err(CodecError::new)
    }
}

impl<T: Direct> Direct for Option<T> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(&self.is_some())?;
        self.as_ref().map_or(Ok(()), |value| value.write(out))
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let some: bool = input.value()?;
        some.then(|| T::read(input)).transpose()
    }
}

impl<T: Direct> Direct for Vec<T> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
        out.value(&self.len())?;
        self.iter().try_for_each(|item| item.write(out))
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let count: usize = input.value()?;
        (0..count).map(|_| T::read(input)).collect()
    }
}

/// Tuples of types with codecs of their own, such as both ends of a channel.
macro_rules! tuple {
    ($($type:ident $index:tt)*) => {
        impl<$($type: Direct),*> Direct for ($($type,)*) {
            fn write(&self, out: &mut Encoder<'_>) -> Result<(), CodecError> {
                $(self.$index.write(out)?;)*
                Ok(())
            }

            fn read(input: &mut Decoder<'_>) -> Result<Self, CodecError> {
                Ok(($($type::read(input)?,)*))
            }
        }
    };
}
tuple!(A 0 B 1);
tuple!(A 0 B 1 C 2);
tuple!(A 0 B 1 C 2 D 3);
tuple!(A 0 B 1 C 2 D 3 E 4);
tuple!(A 0 B 1 C 2 D 3 E 4 F 5);

/// The result of a function that never returns; no value exists.
impl Direct for Infallible {
    fn write(&self, _: &mut Encoder<'_>) -> Result<(), CodecError> {
        match *self {}
    }

    fn read(_: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Err(CodecError::new("a function that never returns has returned"))
    }
}
