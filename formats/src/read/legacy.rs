//! PyTorch's first format: five pickles in a row (magic, version, system, object, storage keys), then raw storages.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::pickle::{Arena, Id, Object, load};
use super::pth::Storages;

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Reads the object and finds the storages.
pub(super) fn open<'a>(arena: &mut Arena, bytes: &'a [u8]) -> Result<(Id, Storages<'a>), String> {
    let mut at = 0;
    let mut next = |arena: &mut Arena, what: &str| {
        let (id, taken) = load(arena, &bytes[at..]).map_err(|problem| format!("{what}: {problem}"))?;
        at += taken;
        Ok::<_, String>((id, at))
    };
    let (magic, _) = next(arena, "magic number")?;
    if *arena.get(magic) != Object::Long(MAGIC.to_vec()) {
        return Err("a pickle, but not one of PyTorch (its magic number is missing)".to_owned());
    }
    next(arena, "version")?;
    let (system, _) = next(arena, "system")?;
    little_endian(arena, system)?;
    let (object, _) = next(arena, "object")?;
    let (keys, end) = next(arena, "storage keys")?;
    let storages = storages(arena, keys, &bytes[end..])?;
    Ok((object, storages))
}

fn little_endian(arena: &Arena, system: Id) -> Result<(), String> {
    let Object::Dict(entries) = arena.get(system) else { return Err("system: not a dictionary".to_owned()) };
    let big = entries
        .iter()
        .any(|(key, value)| arena.name(*key) == Some("little_endian") && *arena.get(*value) == Object::Bool(false));
    if big { Err("written on a big-endian machine, which is not supported".to_owned()) } else { Ok(()) }
}

/// Each storage is its number of elements and their bytes, in the order of the keys.
fn storages<'a>(arena: &Arena, keys: Id, mut rest: &'a [u8]) -> Result<Storages<'a>, String> {
    let Object::List(keys) = arena.get(keys) else { return Err("storage keys: not a list".to_owned()) };
    let sizes: BTreeMap<&str, usize> =
        arena.storages().filter_map(|storage| Some((arena.name(storage.key)?, storage.element?.size()))).collect();
    let mut found = BTreeMap::new();
    for key in keys {
        let key = arena.name(*key).ok_or("storage keys: one is not a name")?;
        let truncated = || format!("truncated in storage `{key}`");
        let size =
            sizes.get(key).ok_or_else(|| format!("storage `{key}` has an element type that is not supported"))?;
        let (count, data) = rest.split_first_chunk().ok_or_else(truncated)?;
        let length = usize::try_from(i64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(*size));
        let (data, after) = length.and_then(|length| data.split_at_checked(length)).ok_or_else(truncated)?;
        found.insert(key.to_owned(), Cow::Borrowed(data));
        rest = after;
    }
    Ok(found)
}
