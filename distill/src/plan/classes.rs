//! Which of a teacher's logits are the data's classes: by name, never by position alone.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use attar_formats::classes::{Alignment, align, natural};
use attar_models::did_you_mean;

use crate::recipe::{TeacherClass, TeacherClasses};

/// Where the data's classes are among a teacher's logits; why they are nowhere, in words, which is no error for a teacher
/// whose logits nobody reads.
pub(crate) type Logits = Result<Alignment, String>;

/// Names shown of a long list.
const SHOWN: usize = 10;

/// Finds the data's classes among the `count` logits of a teacher, by the names that it carries (`own`) and those that the
/// recipe gives it. With what people should know of it.
///
/// # Errors
/// A setting `classes` that does not fit the teacher or the data, in words.
pub(super) fn find(
    data: &[String],
    own: Option<&[String]>,
    count: usize,
    stated: Option<&TeacherClasses>,
) -> Result<(Logits, Option<String>), String> {
    let own = own.filter(|names| names.len() == count);
    let found = match stated {
        Some(TeacherClasses::Names(names)) if names.len() != count => {
            return Err(format!(
                "lists {} names, the teacher answers with {count} logits\n  hint: list all of its names in the order of its logits; the data's may be some of them",
                names.len()
            ));
        }
        Some(TeacherClasses::Names(names)) => align(data, names).map_err(|problem| format!("`classes`: {problem}")),
        Some(TeacherClasses::Map(map)) => return mapped(data, own, count, map).map(|found| (Ok(found.0), found.1)),
        None => match own {
            Some(names) => align(data, names).map_err(|problem| {
                let few = if count < data.len() {
                    format!("has {count} classes, the data {}; it ", data.len())
                } else {
                    String::new()
                };
                format!("{few}was trained on other classes: {problem}\n  hint: {}", how_to_write(data, count))
            }),
            None if count == data.len() => return Ok((Ok(Alignment::same(count)), Some(unnamed(data)))),
            None => Err(format!(
                "has {count} classes without names, the data {}\n  hint: {}",
                data.len(),
                how_to_write(data, count)
            )),
        },
    };
    let note = found.as_ref().ok().and_then(|alignment| alignment.note.clone());
    Ok((found, note))
}

/// The classes of a table from the data's names to names or numbers of the teacher; what the table leaves out goes by name.
fn mapped(
    data: &[String],
    own: Option<&[String]>,
    count: usize,
    map: &BTreeMap<String, TeacherClass>,
) -> Result<(Alignment, Option<String>), String> {
    if let Some(unknown) = map.keys().find(|name| !data.contains(name)) {
        let near = did_you_mean(unknown, data.iter().map(String::as_str));
        return Err(format!("the data has no class `{unknown}`{near}"));
    }
    let named = |wanted: &String| own.and_then(|names| names.iter().position(|name| name == wanted));
    let (mut columns, mut missing) = (Vec::with_capacity(data.len()), Vec::new());
    for name in data {
        match map.get(name) {
            Some(TeacherClass::Index(at)) if *at >= count => {
                return Err(format!("`{name}` = {at}, the teacher's logits are 0 to {}", count.saturating_sub(1)));
            }
            Some(TeacherClass::Index(at)) => columns.push(*at),
            Some(TeacherClass::Name(other)) => match named(other) {
                Some(at) => columns.push(at),
                None if own.is_none() => {
                    return Err(format!(
                        "`{name}` = \"{other}\", and the teacher carries no names\n  hint: write the numbers of its logits, from 0, or all of its names as a list"
                    ));
                }
                None => return Err(format!("`{name}` = \"{other}\", and the teacher has no class of this name")),
            },
            None => match named(name) {
                Some(at) => columns.push(at),
                None => missing.push(format!("`{name}`")),
            },
        }
    }
    if !missing.is_empty() {
        missing.truncate(SHOWN);
        return Err(format!("says nothing of the data's {}", missing.join(", ")));
    }
    let mut taken = BTreeMap::new();
    for (at, name) in columns.iter().zip(data) {
        if let Some(other) = taken.insert(*at, name) {
            return Err(format!("`{other}` and `{name}` are both its logit {at}"));
        }
    }
    let note = format!("{} of its {count} logits are used, as `classes` says", data.len());
    let alignment = Alignment { columns, of: count, note: None };
    Ok((alignment, Some(note)))
}

/// How a recipe says which class is which.
fn how_to_write(data: &[String], count: usize) -> String {
    let first = data.first().map_or("name", String::as_str);
    format!(
        "`classes` beside `from` names its {count} logits in their order, or says which are the data's: classes = {{ {first:?} = 0, ... }}; losses of features need neither"
    )
}

/// What people should know of a teacher without names that has as many classes as the data.
fn unnamed(data: &[String]) -> String {
    let counts = data.is_sorted_by(|a, b| natural(a, b) != Ordering::Greater);
    let order = match (data.is_sorted(), counts) {
        (true, false) => ", alphabetical, 10 before 2",
        (false, true) => ", natural, 2 before 10",
        _ => "",
    };
    let shown: Vec<&str> = data.iter().take(4).map(String::as_str).collect();
    let rest = if data.len() > shown.len() { ", ..." } else { "" };
    format!(
        "carries no class names: its logits are taken in the order of the data's ({}{rest}{order}); `classes = [...]` beside `from` says it",
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn names_pick_the_logits_and_positions_never_do() {
        let data = names("ant bee cat");
        let own = |own: &str| find(&data, Some(&names(own)), 3, None).unwrap();
        assert!(own("ant bee cat").0.unwrap().is_identity());
        let (found, note) = own("cat ant bee");
        assert_eq!(found.unwrap().columns, [1, 2, 0]);
        assert!(note.unwrap().contains("another order"));
        let problem = own("ant bee dog").0.unwrap_err();
        assert!(
            problem.contains("other classes") && problem.contains("`cat`") && problem.contains("hint:"),
            "{problem}"
        );
        let stated = TeacherClasses::Names(names("bee cat ant"));
        assert_eq!(find(&data, None, 3, Some(&stated)).unwrap().0.unwrap().columns, [2, 0, 1]);
        assert!(find(&data, None, 4, Some(&stated)).unwrap_err().contains("lists 3 names"));
    }

    #[test]
    fn a_teacher_of_more_classes_needs_names_or_a_table() {
        let data = names("ant bee");
        let problem = find(&data, None, 1000, None).unwrap().0.unwrap_err();
        assert!(problem.contains("1000 classes") && problem.contains("\"ant\" = 0"), "{problem}");
        let map = |pairs: &[(&str, TeacherClass)]| {
            TeacherClasses::Map(pairs.iter().map(|(name, class)| ((*name).to_owned(), class.clone())).collect())
        };
        let at = TeacherClass::Index;
        let stated = map(&[("ant", at(310)), ("bee", at(309))]);
        let (found, note) = find(&data, None, 1000, Some(&stated)).unwrap();
        assert_eq!(found.unwrap().columns, [310, 309]);
        assert!(note.unwrap().contains("2 of its 1000"));
        let name = TeacherClass::Name("formica".to_owned());
        let own = names("bee formica");
        let by_name = map(&[("ant", name.clone())]);
        assert_eq!(find(&data, Some(&own), 2, Some(&by_name)).unwrap().0.unwrap().columns, [1, 0]);
        for (stated, expected) in [
            (map(&[("ant", at(1000)), ("bee", at(1))]), "0 to 999"),
            (map(&[("ant", at(1))]), "says nothing of the data's `bee`"),
            (map(&[("ant", at(1)), ("bee", at(1))]), "both its logit 1"),
            (map(&[("aunt", at(1))]), "did you mean `ant`?"),
            (map(&[("ant", name), ("bee", at(1))]), "carries no names"),
        ] {
            let problem = find(&data, None, 1000, Some(&stated)).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_teacher_without_names_is_pointed_out() {
        let (found, note) = find(&names("0 1 10 2"), None, 4, None).unwrap();
        assert!(found.unwrap().is_identity() && note.unwrap().contains("alphabetical, 10 before 2"));
    }
}
