//! Types that serde reads only from a self-describing format: their values arrive unchanged, to the last bit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use fanfold::parallel;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

fanfold::process_tests!();

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    #[allow(clippy::option_option, reason = "not every format can tell the three apart")]
    Options(Vec<Option<Option<u8>>>),
    Int(i64),
    Float(f64),
    Letter(char),
    Text(String),
    Unit(()),
    Plain(Plain),
    Letters(BTreeMap<u8, char>),
    Fields {
        big: u64,
        unit: Option<()>,
    },
    Inner(Box<Untagged>, Box<Untagged>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Plain {
    A,
    B(u8),
    C(u8, String),
    D { x: i8 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner {
    a: f32,
    plain: Plain,
    #[serde(skip_serializing_if = "Option::is_none")]
    letter: Option<char>,
    unit: Unit,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    A,
    B {
        x: u8,
        #[allow(clippy::option_option, reason = "not every format can tell the three apart")]
        y: Option<Option<u8>>,
    },
    C(Inner),
    D(BTreeMap<i32, u8>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content")]
enum TaggedBeside {
    A,
    B(u8),
    C { x: u128 },
    D(i8, i8),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u128,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FlatEnums {
    #[serde(flatten)]
    tagged: Tagged,
    #[serde(flatten)]
    plain: Plain,
    last: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FlatNumbers {
    id: u8,
    #[serde(flatten)]
    others: BTreeMap<i32, u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sometimes {
    id: u8,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    tags: Vec<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(clippy::option_option, reason = "not every format can tell the three apart")]
    note: Option<Option<u8>>,
    last: u8,
    variant: SometimesVariant,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum SometimesVariant {
    Fields {
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<u8>,
        id: u8,
    },
}

/// What other formats change on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Exact<'a> {
    wide: (u128, i128, u128),
    #[allow(clippy::option_option, reason = "not every format can tell the three apart")]
    options: Vec<Option<Option<u8>>>,
    units: (Unit, (), Option<()>, Option<Unit>),
    letters: Vec<char>,
    bytes: Cow<'a, [u8]>,
    shared: fanfold::Bytes,
    #[allow(clippy::option_option, clippy::type_complexity, reason = "not every format can tell the three apart")]
    keys: BTreeMap<(u8, Option<Option<char>>), BTreeMap<Option<()>, Plain>>,
}

/// A struct that is read by hand, by its fields' names only, and from them in another order.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct ByName {
    a: u8,
    b: String,
}

impl<'de> Deserialize<'de> for ByName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = ByName;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByName, A::Error> {
                let mut value = ByName { a: 0, b: String::new() };
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "a" => value.a = map.next_value()?,
                        _ => value.b = map.next_value()?,
                    }
                }
                Ok(value)
            }
        }
        deserializer.deserialize_struct("ByName", &["b", "a"], Visit)
    }
}

/// A sequence and a map that do not know their lengths.
#[derive(Debug, Clone, PartialEq)]
struct Unknown(Vec<u16>);

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len().is_multiple_of(2) {
            let mut seq = serializer.serialize_seq(None)?;
            self.0.iter().try_for_each(|n| seq.serialize_element(n))?;
            return seq.end();
        }
        let mut map = serializer.serialize_map(None)?;
        self.0.iter().try_for_each(|n| map.serialize_entry(n, &()))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Unknown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Seq(Vec<u16>),
            #[allow(clippy::zero_sized_map_values, reason = "a set is written as a sequence")]
            Map(BTreeMap<u16, ()>),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Seq(numbers) => Self(numbers),
            Either::Map(numbers) => Self(numbers.into_keys().collect()),
        })
    }
}

/// Sends values to a worker and back: one by one, in a map and through a channel.
macro_rules! arrives {
    ($test:ident, $type:ty, $values:expr) => {
        mod $test {
            use super::*;

            #[parallel(kind = "process")]
            fn echo(value: $type, after: u32) -> ($type, u32) {
                (value, after)
            }

            #[parallel(kind = "process")]
            fn pass(values: fanfold::Sender<$type>) -> fanfold::Sender<$type> {
                values
            }

            #[test]
            fn unchanged() {
                fn check<T: Debug + PartialEq + Serialize + DeserializeOwned>(_: &T) {}
                let values: Vec<$type> = $values;
                values.iter().for_each(check);
                let (sender, receiver) = fanfold::channel();
                let sender = pass(sender);
                for value in &values {
                    assert_eq!(echo(value.clone(), 5), (value.clone(), 5));
                    sender.send(value.clone()).expect("it can be sent");
                    assert_eq!(receiver.recv().expect("it can be received"), *value);
                }
                let many: Vec<($type, u32)> = (0..20).flat_map(|_| values.clone()).zip(0..).collect();
                assert_eq!(echo::map(many.clone()).collect::<Vec<_>>(), many);
            }
        }
    };
}

fn inner(letter: Option<char>) -> Inner {
    Inner { a: 1.5, plain: Plain::C(1, "é".into()), letter, unit: Unit }
}

fn document() -> Value {
    json!({"a": [1, null, 2.5, 1.0, "x", {"b": -3, "c": u64::MAX, "d": i64::MIN}], "": true})
}

arrives!(
    an_untagged_enum,
    Untagged,
    vec![
        Untagged::Options(vec![None, Some(None), Some(Some(1))]),
        Untagged::Int(i64::MIN),
        Untagged::Float(1.0),
        Untagged::Float(-0.0),
        Untagged::Letter('\u{10ffff}'),
        Untagged::Text("text".into()),
        Untagged::Unit(()),
        Untagged::Plain(Plain::B(1)),
        Untagged::Plain(Plain::C(1, String::new())),
        Untagged::Plain(Plain::D { x: -1 }),
        Untagged::Letters([(1, 'x'), (2, 'y')].into()),
        Untagged::Fields { big: u64::MAX, unit: Some(()) },
        Untagged::Fields { big: 0, unit: None },
        Untagged::Inner(Box::new(Untagged::Int(1)), Box::new(Untagged::Float(1.0))),
    ]
);
arrives!(
    an_internally_tagged_enum,
    Vec<Tagged>,
    vec![
        vec![Tagged::A, Tagged::B { x: 1, y: None }, Tagged::B { x: 1, y: Some(None) }],
        vec![Tagged::C(inner(None)), Tagged::C(inner(Some('\0')))],
        vec![Tagged::D([(-1, 1), (70_000, 2)].into())],
    ]
);
arrives!(
    an_adjacently_tagged_enum,
    TaggedBeside,
    vec![TaggedBeside::A, TaggedBeside::B(1), TaggedBeside::C { x: u128::MAX }, TaggedBeside::D(-1, 1)]
);
arrives!(
    flattened_fields,
    Flat,
    vec![
        Flat { id: u128::MAX, inner: inner(None), others: [("key".into(), document())].into() },
        Flat { id: 0, inner: inner(Some('a')), others: BTreeMap::new() },
    ]
);
arrives!(
    flattened_enums,
    FlatEnums,
    vec![
        FlatEnums { tagged: Tagged::B { x: 1, y: Some(None) }, plain: Plain::D { x: 1 }, last: 1 },
        FlatEnums { tagged: Tagged::A, plain: Plain::C(1, "c".into()), last: 0 },
    ]
);
arrives!(flattened_number_keys, FlatNumbers, vec![FlatNumbers { id: 1, others: [(5, 6), (-7, 8)].into() }]);
arrives!(a_json_value, Value, vec![document(), Value::Null, json!([]), json!({})]);
arrives!(an_optional_json_value, Option<Value>, vec![None, Some(Value::Null), Some(document())]);
arrives!(a_json_value_that_may_fail, Result<Value, String>, vec![Ok(Value::Null), Ok(document()), Err("no".into())]);
arrives!(
    fields_that_are_sometimes_not_written,
    Sometimes,
    vec![
        Sometimes {
            id: 1,
            tags: Vec::new(),
            note: None,
            last: 2,
            variant: SometimesVariant::Fields { note: None, id: 3 }
        },
        Sometimes {
            id: 1,
            tags: vec![1],
            note: Some(None),
            last: 2,
            variant: SometimesVariant::Fields { note: Some(0), id: 3 }
        },
        Sometimes {
            id: 0,
            tags: vec![0],
            note: Some(Some(0)),
            last: 0,
            variant: SometimesVariant::Fields { note: None, id: 0 }
        },
    ]
);
arrives!(
    what_other_formats_change,
    Exact<'static>,
    vec![Exact {
        wide: (u128::MAX, i128::MIN, 5),
        options: vec![None, Some(None), Some(Some(0))],
        units: (Unit, (), Some(()), None),
        letters: vec!['a', '\0', '\u{10ffff}'],
        bytes: vec![0, 1, 255].into(),
        shared: vec![0, 1, 255].into(),
        keys: [
            ((1, None), [(None, Plain::A), (Some(()), Plain::B(2))].into()),
            ((1, Some(None)), BTreeMap::new()),
            ((1, Some(Some('x'))), [(None, Plain::D { x: 0 })].into()),
        ]
        .into(),
    }]
);
arrives!(
    a_struct_that_is_read_by_name,
    (Vec<ByName>, TaggedBeside),
    vec![(vec![ByName { a: 1, b: "b".into() }, ByName { a: 2, b: String::new() }], TaggedBeside::A)]
);
arrives!(
    unknown_lengths,
    Vec<Unknown>,
    vec![vec![Unknown((0..300).collect()), Unknown((0..301).collect()), Unknown(vec![]), Unknown(vec![7])]]
);

#[parallel(kind = "process")]
fn bits(single: f32, double: f64, in_an_enum: Untagged) -> (f32, f64, Untagged) {
    (single, double, in_an_enum)
}

#[test]
fn a_nan_keeps_its_bits() {
    // Signalling ones too, with a sign and a payload.
    for (single, double) in [(0x7fa0_beef, 0x7ff4_0000_dead_beef), (0xff80_0001, 0xfff0_0000_0000_0001)] {
        let sent = (f32::from_bits(single), f64::from_bits(double));
        let (back, doubled, Untagged::Float(wrapped)) = bits(sent.0, sent.1, Untagged::Float(sent.1)) else {
            panic!("another variant came");
        };
        assert_eq!((back.to_bits(), doubled.to_bits(), wrapped.to_bits()), (single, double, double));
    }
}

#[parallel(kind = "process")]
fn wide(value: Wide) -> Result<Wide, fanfold::TaskError> {
    Ok(value)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Wide {
    Number(u128),
}

#[test]
fn a_wide_number_that_serde_cannot_copy_is_an_error() {
    let error = wide(Wide::Number(u128::MAX)).expect_err("serde cannot hold it");
    assert!(error.to_string().contains("u128"), "{error}");
}
