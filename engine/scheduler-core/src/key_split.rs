//! Which prefix and which group a key belongs to: Dask's `key_split` and `key_split_group`.
//!
//! Root tasks are recognised by the size of their group, so these must agree with Dask to the letter.

use protocol::Key;
use std::borrow::Cow;

const OTHER: &str = "Other";
const DATA: &str = "data";

/// What identifies a group: usually a text, but the first item of a tuple key may be any key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupName<'a> {
    Text(Cow<'a, str>),
    Key(Key),
}

/// The broad class of a task: `inc` of `inc-0f3a…`.
pub(crate) fn key_split(key: &Key) -> Cow<'_, str> {
    if let Some(text) = key.as_str() {
        return split_text(text);
    }
    match key.as_tuple() {
        Some(items) => match items.first() {
            Some(first) => Cow::Owned(key_split(first).into_owned()),
            None => Cow::Borrowed(OTHER),
        },
        None => Cow::Borrowed(OTHER),
    }
}

/// The finer class: `inc-0f3a…` of `('inc-0f3a…', 7)`, otherwise mostly the prefix.
pub(crate) fn key_split_group(key: &Key) -> GroupName<'_> {
    if let Some(text) = key.as_str() {
        return GroupName::Text(group_of_text(text));
    }
    let Some(first) = key.as_tuple().and_then(|items| items.into_iter().next()) else {
        return GroupName::Text(Cow::Borrowed(OTHER));
    };
    match first.as_str() {
        Some(text) => GroupName::Text(Cow::Owned(text.to_owned())),
        None => GroupName::Key(first),
    }
}

fn group_of_text(text: &str) -> Cow<'_, str> {
    if text.starts_with('(') {
        let first = text.split(',').next().unwrap_or(text);
        Cow::Borrowed(first.trim_matches(['(', ')', '"', '\'']))
    } else if is_token(text) {
        Cow::Borrowed(DATA)
    } else if text.starts_with('<') {
        class_name(text).map_or(Cow::Borrowed(OTHER), Cow::Borrowed)
    } else {
        split_text(text)
    }
}

fn split_text(text: &str) -> Cow<'_, str> {
    let mut words = text.split('-');
    let Some(first) = words.next() else {
        return Cow::Borrowed(OTHER);
    };
    let Some(initial) = first.chars().next() else {
        return Cow::Borrowed(OTHER);
    };
    let head = if initial.is_alphabetic() {
        first
    } else {
        let item = first.split(',').next().unwrap_or(first);
        item.trim_matches(['_', '\'', '(', ')', '"'])
    };
    let kept = words
        .take_while(|word| is_word(word))
        .map(|word| word.len() + 1)
        .sum::<usize>();
    let result = if kept == 0 {
        Cow::Borrowed(head)
    } else if head.len() == first.len() {
        Cow::Borrowed(&text[..first.len() + kept])
    } else {
        Cow::Owned(format!("{head}{}", &text[first.len()..first.len() + kept]))
    };
    finish(result)
}

fn finish(result: Cow<'_, str>) -> Cow<'_, str> {
    if result.is_empty() {
        return Cow::Borrowed(OTHER);
    }
    if is_token(&result) {
        return Cow::Borrowed(DATA);
    }
    if result.starts_with('<') {
        return match class_name(&result) {
            Some(name) => Cow::Owned(name.to_owned()),
            None => Cow::Borrowed(OTHER),
        };
    }
    result
}

/// Letters only, and not what Dask takes for the start of a token: eight letters of which the first is in a–f.
fn is_word(word: &str) -> bool {
    let mut count = 0;
    for letter in word.chars() {
        if !letter.is_alphabetic() {
            return false;
        }
        count += 1;
    }
    let looks_hex = count == 8 && word.starts_with(|letter| ('a'..='f').contains(&letter));
    count > 0 && !looks_hex
}

fn is_token(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn class_name(text: &str) -> Option<&str> {
    let inner = text.trim_matches(['<', '>']);
    inner.split_whitespace().next()?.rsplit('.').next()
}
