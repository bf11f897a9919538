//! Classes go by name: where the classes of one side (data, student) are found on the other (teacher, bundle, weights).
//!
//! Positions say nothing. Two lists of equal length with other names are other classes, and the same names in another order
//! are the same classes: the logits are put in order.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use attar_models::nearest;
use unicode_normalization::UnicodeNormalization;

/// Names shown of a long list.
const SHOWN: usize = 10;

/// Where each wanted class is on the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignment {
    /// For each wanted class its position on the other side.
    pub columns: Vec<usize>,
    /// How many classes the other side has.
    pub of: usize,
    /// What was put right, for people; `None` where both sides are the same.
    pub note: Option<String>,
}

impl Alignment {
    /// Both sides alike, `count` classes.
    pub fn same(count: usize) -> Self {
        Self { columns: (0..count).collect(), of: count, note: None }
    }

    /// Whether nothing is to be done: as many classes, in the same order.
    pub fn is_identity(&self) -> bool {
        self.columns.len() == self.of && self.columns.iter().enumerate().all(|(own, other)| own == *other)
    }

    /// The wanted logits out of one row of the other side's; a row that is shorter gives fewer.
    pub fn pick(&self, row: &[f32]) -> Vec<f32> {
        self.columns.iter().filter_map(|column| row.get(*column).copied()).collect()
    }
}

/// A class name in Unicode's composed form (NFC), in which names are compared.
pub fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// Finds every class of `wanted` in `given` by its name (compared in Unicode's composed form, NFC). `given` may have more.
///
/// # Errors
/// In words for people: the wanted names that `given` does not have, with the nearest ones, or a name that stands twice.
pub fn align(wanted: &[String], given: &[String]) -> Result<Alignment, String> {
    let mut places = BTreeMap::new();
    for (place, name) in given.iter().enumerate() {
        if places.insert(composed(name), place).is_some() {
            return Err(format!("the class `{name}` stands there twice"));
        }
    }
    let found: Vec<Option<usize>> = wanted.iter().map(|name| places.get(&composed(name)).copied()).collect();
    let missing: Vec<&String> =
        wanted.iter().zip(&found).filter(|(_, at)| at.is_none()).map(|(name, _)| name).collect();
    if !missing.is_empty() {
        let near = |name: &&String| {
            let near = nearest(name, given.iter().map(String::as_str));
            near.map_or_else(|| format!("`{name}`"), |near| format!("`{name}` (did it mean `{near}`?)"))
        };
        let shown: Vec<String> = missing.iter().take(SHOWN).map(near).collect();
        return Err(format!(
            "{} of {} classes are not there: {}\n  there are: {}",
            missing.len(),
            wanted.len(),
            shortened(&shown, missing.len()),
            shortened(&given.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>(), given.len())
        ));
    }
    let columns: Vec<usize> = found.into_iter().flatten().collect();
    let mut alignment = Alignment { columns, of: given.len(), note: None };
    alignment.note = note(wanted, given, &alignment);
    Ok(alignment)
}

fn shortened(shown: &[String], all: usize) -> String {
    let rest = if all > shown.len() { format!(", and {} more", all - shown.len()) } else { String::new() };
    shown.join(", ") + &rest
}

fn note(wanted: &[String], given: &[String], alignment: &Alignment) -> Option<String> {
    let rising = alignment.columns.is_sorted();
    match (alignment.columns.len() < alignment.of, rising) {
        (true, _) => Some(format!("{} of its {} classes are used, by name", wanted.len(), given.len())),
        (false, false) => {
            let why = likely_cause(wanted, given).map(|why| format!(" ({why})")).unwrap_or_default();
            Some(format!("the same classes in another order{why}: aligned by name"))
        }
        (false, true) if wanted != given => {
            Some("the same class names in another Unicode form (NFC against NFD): taken as equal".to_owned())
        }
        (false, true) => None,
    }
}

/// Why two lists of the same names may be in different orders, where that can be seen: one counts, the other spells.
pub fn likely_cause(own: &[String], other: &[String]) -> Option<&'static str> {
    let counts = |names: &[String]| names.is_sorted_by(|a, b| natural(a, b) != Ordering::Greater);
    let spells = |names: &[String]| names.is_sorted();
    match (spells(own), counts(own), spells(other), counts(other)) {
        (true, false, false, true) => Some("here alphabetical, 10 before 2; there natural, 2 before 10"),
        (false, true, true, false) => Some("here natural, 2 before 10; there alphabetical, 10 before 2"),
        _ => None,
    }
}

/// The order in which people count: runs of digits by their value, everything else by letters.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (first, second) = (leading_digits(a), leading_digits(b));
        if !first.is_empty() && !second.is_empty() {
            let value = |digits: &str| {
                let digits = digits.trim_start_matches('0').to_owned();
                (digits.len(), digits)
            };
            match value(first).cmp(&value(second)).then(first.len().cmp(&second.len())) {
                Ordering::Equal => (a, b) = (&a[first.len()..], &b[second.len()..]),
                other => return other,
            }
            continue;
        }
        match (a.chars().next(), b.chars().next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

fn leading_digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn names_decide_and_not_positions() {
        assert!(align(&names("a b c"), &names("a b c")).unwrap().is_identity());
        let moved = align(&names("a b c"), &names("c a b")).unwrap();
        assert_eq!(moved.pick(&[0.3, 0.1, 0.2]), [0.1, 0.2, 0.3]);
        assert!(
            moved.note.unwrap().contains("another order") && !align(&names("a"), &names("b a")).unwrap().is_identity()
        );
        let problem = align(&names("ant bee cat"), &names("bee cats dog")).unwrap_err();
        assert!(
            problem.contains("2 of 3") && problem.contains("`ant`") && problem.contains("did it mean `cats`?"),
            "{problem}"
        );
        assert!(align(&names("a"), &names("a a")).unwrap_err().contains("twice"));
    }

    #[test]
    fn counting_and_spelling_are_told_apart() {
        let (spelt, counted) = (names("0 1 10 11 2"), names("0 1 2 10 11"));
        assert!(align(&spelt, &counted).unwrap().note.unwrap().contains("natural"));
        assert_eq!(likely_cause(&counted, &spelt).unwrap().find("here natural"), Some(0));
        assert_eq!(natural("img10b", "img9"), Ordering::Greater);
        assert_eq!(natural("a007", "a7"), Ordering::Greater);
        assert_eq!(natural("x", "x"), Ordering::Equal);
        assert_eq!(natural("99999999999999999999", "100000000000000000000"), Ordering::Less);
    }

    #[test]
    fn composed_and_decomposed_letters_are_one() {
        let found = align(&["caf\u{e9}".to_owned()], &["cafe\u{301}".to_owned()]).unwrap();
        assert!(found.is_identity() && found.note.unwrap().contains("NFC"));
    }
}
