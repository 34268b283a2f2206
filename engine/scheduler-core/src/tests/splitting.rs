//! Prefixes and groups of keys, compared with what Dask 2026.8.0 answers.

use crate::key_split::{GroupName, key_split, key_split_group};
use protocol::Key;

fn tuple(items: &[Key]) -> Key {
    Key::tuple(items)
}

fn text(text: &str) -> Key {
    Key::str(text)
}

#[test]
fn prefix_and_group_of_text_keys_are_dasks() {
    let cases = [
        ("x", "x", "x"),
        ("x-1", "x", "x"),
        ("x-1-2-3", "x", "x"),
        ("('x-2', 1)", "x", "x-2"),
        ("('x', 1)", "x", "x"),
        ("hello-world-1", "hello-world", "hello-world"),
        ("ae05086432ca935f6eba409a8ecd4896", "data", "data"),
        (
            "<module.submodule.myclass object at 0xdaf372",
            "myclass",
            "myclass",
        ),
        ("x-abcdefab", "x", "x"),
        ("_(x)", "x", "x"),
        ("x-backward", "x", "x"),
        ("x-zbackwar", "x-zbackwar", "x-zbackwar"),
        ("x-abcdefabc", "x-abcdefabc", "x-abcdefabc"),
        ("inc-0123456789abcdef0123456789abcdef", "inc", "inc"),
        (
            "sum-aggregate-0123456789abcdef0123456789abcdef",
            "sum-aggregate",
            "sum-aggregate",
        ),
        ("été-1", "été", "été"),
        ("x--1", "x", "x"),
        ("-x", "Other", "Other"),
        ("x-", "x", "x"),
        ("x-y z", "x", "x"),
        ("123", "123", "123"),
        ("123-abc", "123-abc", "123-abc"),
        ("_", "Other", "Other"),
        ("\"quoted\"-1", "quoted", "quoted"),
        ("<locals>", "locals", "locals"),
        ("<a.b.c>-x", "c>-x", "c>-x"),
        ("(1, 2)", "1", "1"),
        ("(\"a-1\", 2)", "a", "a-1"),
        ("read_csv-abc", "read_csv-abc", "read_csv-abc"),
        ("read-parquet-1", "read-parquet", "read-parquet"),
        ("x-ABCDEFAB", "x-ABCDEFAB", "x-ABCDEFAB"),
        ("shuffle-barrier-1234", "shuffle-barrier", "shuffle-barrier"),
        ("('x-2',", "x", "x-2"),
        ("lambda-x", "lambda-x", "lambda-x"),
        ("<lambda>-1", "lambda", "lambda>-1"),
        ("a1-b2", "a1", "a1"),
        ("a-b1-c", "a", "a"),
        (
            "AE05086432CA935F6EBA409A8ECD4896",
            "AE05086432CA935F6EBA409A8ECD4896",
            "AE05086432CA935F6EBA409A8ECD4896",
        ),
        ("x-日本", "x-日本", "x-日本"),
        ("__main__-x", "main-x", "main-x"),
        ("a,b-c", "a,b-c", "a,b-c"),
        (
            "finalize-hlgfinalizecompute-ab12",
            "finalize-hlgfinalizecompute",
            "finalize-hlgfinalizecompute",
        ),
    ];
    for (key, prefix, group) in cases {
        let key = text(key);
        assert_eq!(key_split(&key), prefix, "prefix of {key}");
        assert_eq!(
            key_split_group(&key),
            GroupName::Text(group.into()),
            "group of {key}"
        );
    }
}

#[test]
fn the_group_of_a_tuple_is_its_first_item_whatever_that_is() {
    let cases = [
        (
            tuple(&[text("x-2"), Key::int(1)]),
            "x",
            GroupName::Text("x-2".into()),
        ),
        (
            tuple(&[text("a b-c"), Key::int(1)]),
            "a b-c",
            GroupName::Text("a b-c".into()),
        ),
        (
            tuple(&[Key::int(5), Key::int(1)]),
            "Other",
            GroupName::Key(Key::int(5)),
        ),
        (
            tuple(&[tuple(&[text("x-1"), Key::int(2)]), Key::int(3)]),
            "x",
            GroupName::Key(tuple(&[text("x-1"), Key::int(2)])),
        ),
        (Key::int(5), "Other", GroupName::Text("Other".into())),
    ];
    for (key, prefix, group) in cases {
        assert_eq!(key_split(&key), prefix, "prefix of {key}");
        assert_eq!(key_split_group(&key), group, "group of {key}");
    }
}
