//! Keys: equal where Python says so, ordered, hashed once, and refused where Python would refuse them.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is the failure of its test"
)]

use std::collections::HashMap;

use proptest::prelude::*;
use protocol::{DecodeError, Key, KeyBuildHasher, KeyError, Value, array, map};

fn key(value: impl Into<Value>) -> Key {
    Key::try_from(&value.into()).unwrap()
}

#[test]
fn key_is_one_pointer() {
    assert_eq!((size_of::<Key>(), size_of::<Option<Key>>()), (8, 8));
}

#[test]
fn numbers_equal_in_python_are_one_key() {
    for (left, right) in [
        (Value::Int(1), Value::Bool(true)),
        (Value::Int(0), Value::Float(-0.0)),
        (Value::Int(-7), Value::Float(-7.0)),
        (
            Value::UInt(1 << 63),
            Value::Float(9_223_372_036_854_775_808.0),
        ),
        (array!["x", 2.0], array!["x", 2]),
    ] {
        assert_eq!(key(left.clone()), key(right.clone()), "{left:?} {right:?}");
        assert_eq!(key(left).hash64(), key(right).hash64());
    }
}

#[test]
fn encodings_of_one_value_are_one_key() {
    // 5 as fixint, u8, u16, i64, f32 and f64; "ab" as fixstr and str32.
    let five: [&[u8]; 6] = [
        b"\x05",
        b"\xcc\x05",
        b"\xcd\0\x05",
        b"\xd3\0\0\0\0\0\0\0\x05",
        b"\xca\x40\xa0\0\0",
        b"\xcb\x40\x14\0\0\0\0\0\0",
    ];
    assert!(
        five.iter()
            .all(|bytes| Key::from_msgpack(bytes).unwrap() == Key::int(5))
    );
    assert_eq!(
        Key::from_msgpack(b"\xdb\0\0\0\x02ab").unwrap(),
        Key::str("ab")
    );
}

#[test]
fn text_with_surrogates_survives_and_is_no_str() {
    let lone = [b'a', 0xed, 0xa0, 0x80];
    let key = Key::from_str_bytes(&lone);
    assert_eq!((key.as_str(), key.as_str_bytes()), (None, Some(&lone[..])));
    assert_eq!(Key::from_msgpack(key.as_msgpack()).unwrap(), key);
    assert_eq!(Key::try_from(&key.to_value()).unwrap(), key);
}

#[test]
fn long_text_keeps_its_length() {
    for len in [0, 31, 32, 255, 256, 65_535, 65_536] {
        let text = "k".repeat(len);
        let key = Key::str(&text);
        assert_eq!(key.as_str(), Some(text.as_str()));
        assert_eq!(Key::from_msgpack(key.as_msgpack()).unwrap(), key);
    }
}

#[test]
fn what_is_no_key_is_refused_by_name() {
    let refused = |value: Value| Key::try_from(&value).unwrap_err();
    assert_eq!(refused(Value::Nil), KeyError::Type("nil"));
    assert_eq!(
        refused(Value::Bin(b"x".to_vec().into())),
        KeyError::Type("bin")
    );
    assert_eq!(refused(array!["x", map! {}]), KeyError::Type("map"));
    assert_eq!(refused(Value::Float(f64::NAN)), KeyError::NotANumber);
    assert_eq!(
        Key::from_msgpack(b"\xc4\x01x").unwrap_err(),
        DecodeError::Key(KeyError::Type("bin"))
    );
    assert_eq!(
        Key::from_msgpack(b"\x01\x02").unwrap_err(),
        DecodeError::Trailing { at: 1 }
    );
    let mut deep = Value::Int(1);
    for _ in 0..40 {
        deep = array![deep];
    }
    assert_eq!(refused(deep), KeyError::TooDeep);
}

#[test]
fn tuple_is_taken_apart_into_keys() {
    let tuple = key(array!["x", array![1, "y"]]);
    assert_eq!(
        tuple.as_tuple().unwrap(),
        [Key::str("x"), key(array![1, "y"])]
    );
    assert_eq!(Key::tuple(&tuple.as_tuple().unwrap()), tuple);
    assert!(Key::str("x").as_tuple().is_none());
}

#[test]
fn order_is_by_value_numbers_before_text_before_tuples() {
    let sorted = [
        key(Value::Float(f64::NEG_INFINITY)),
        key(-5),
        key(1.5),
        key(2),
        key(Value::Float(2.5)),
        key(1_i64 << 53),
        key((1_i64 << 53) + 1),
        key(Value::UInt(u64::MAX)),
        key(1e300),
        key(""),
        key("a"),
        key("b"),
        key(array![]),
        key(array![2, "a"]),
        key(array![10]),
        key(array!["a", 1]),
    ];
    for (left_at, left) in sorted.iter().enumerate() {
        for (right_at, right) in sorted.iter().enumerate() {
            assert_eq!(
                left.cmp(right),
                left_at.cmp(&right_at),
                "{left:?} {right:?}"
            );
        }
    }
}

#[test]
fn keys_print_as_in_python() {
    let printed = |value: Value| key(value).to_string();
    assert_eq!(printed("it's".into()), "it's");
    assert_eq!(
        printed(array!["it's", "\"", "\n\\", "é\x7f"]),
        r#"("it's", '"', '\n\\', 'é\x7f')"#
    );
    assert_eq!(
        printed(array![1.5, 1e-5, 1e22, 1]),
        "(1.5, 1e-05, 1e+22, 1)"
    );
    assert_eq!(printed(array!["x"]), "('x',)");
    assert_eq!(format!("{:?}", Key::str("x")), "'x'");
}

#[test]
fn hashes_spread_over_similar_keys() {
    let mut low_bits: HashMap<u64, usize> = HashMap::new();
    for number in 0..100_000 {
        let hash = Key::str(&format!("increment-{number}")).hash64();
        *low_bits.entry(hash & 1023).or_default() += 1;
    }
    let fullest = low_bits.values().max().unwrap();
    assert!(
        low_bits.len() == 1024 && *fullest < 160,
        "{fullest} of about 98 in one place"
    );
    let mut by_key: HashMap<Key, i64, KeyBuildHasher> = HashMap::default();
    by_key.insert(Key::int(1), 5);
    assert_eq!(by_key.get(&key(1.0)), Some(&5));
}

fn any_key() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<f64>()
            .prop_filter("NaN is no key", |value| !value.is_nan())
            .prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 20, 5, |inner| {
        proptest::collection::vec(inner, 0..5).prop_map(Value::Array)
    })
}

proptest! {
    #[test]
    fn both_ways_to_make_a_key_agree(value in any_key()) {
        let direct = Key::try_from(&value).unwrap();
        let encoded = protocol::encode_value(&value).0.remove(0);
        let read = Key::from_msgpack(&encoded).unwrap();
        prop_assert_eq!(&read, &direct);
        prop_assert_eq!(Key::try_from(&direct.to_value()).unwrap(), direct);
    }

    #[test]
    fn order_agrees_with_equality(left in any_key(), right in any_key()) {
        let (left, right) = (Key::try_from(&left).unwrap(), Key::try_from(&right).unwrap());
        prop_assert_eq!(left == right, left.cmp(&right).is_eq());
        prop_assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
    }
}
