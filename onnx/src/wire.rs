//! The wire format of protocol buffers, read as it lies: fields of a message, bounded by its bytes.

use std::collections::BTreeMap;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'b> {
    /// A number.
    Varint(u64),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'b [u8]),
    /// Four or eight bytes, which nothing here asks for.
    Fixed,
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field<'b> {
    /// Its number.
    pub number: u64,
    /// What it holds.
    pub value: Value<'b>,
    /// All its bytes, tag included.
    pub whole: &'b [u8],
}

impl<'b> Field<'b> {
    /// Its bytes, if it holds some.
    pub fn bytes(&self) -> Option<&'b [u8]> {
        match self.value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Its number, if it holds one.
    pub fn varint(&self) -> Option<u64> {
        match self.value {
            Value::Varint(number) => Some(number),
            _ => None,
        }
    }
}

/// The fields of a message, in order. A damaged one is the last: the runtimes tell what is wrong with a file, this reader
/// only looks for what they do not say.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for Fields<'b> {
    type Item = Field<'b>;

    fn next(&mut self) -> Option<Field<'b>> {
        let start = self.rest;
        let found = self.field();
        if found.is_none() {
            self.rest = &[];
        }
        let (number, value) = found?;
        Some(Field { number, value, whole: &start[..start.len() - self.rest.len()] })
    }
}

impl<'b> Fields<'b> {
    fn field(&mut self) -> Option<(u64, Value<'b>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Numbers of a repeated field, packed or not.
pub fn varints(field: &Field<'_>) -> Vec<u64> {
    match field.value {
        Value::Varint(number) => vec![number],
        Value::Fixed => Vec::new(),
        Value::Bytes(packed) => {
            let mut reader = Fields { rest: packed };
            std::iter::from_fn(|| reader.varint()).collect()
        }
    }
}

/// The text of a field; empty where there is none.
pub fn text(message: &[u8], number: u64) -> &str {
    fields(message).find(|field| field.number == number).map_or("", |field| utf8(&field))
}

/// The text that a field holds; empty where it holds none.
pub fn utf8<'b>(field: &Field<'b>) -> &'b str {
    field.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// The sizes of an array, a `TensorProto`.
pub fn dims(tensor: &[u8]) -> Vec<u64> {
    fields(tensor).filter(|field| field.number == 1).flat_map(|field| varints(&field)).collect()
}

/// Entries of a model's metadata.
pub fn metadata(model: &[u8]) -> BTreeMap<&str, &str> {
    let entries = fields(model).filter(|field| field.number == 14).filter_map(|field| field.bytes());
    entries.map(|entry| (text(entry, 1), text(entry, 2))).collect()
}

/// Names of the arrays that lie in the graph of a model.
pub fn initialisers(model: &[u8]) -> Vec<&str> {
    parts(model, 5).map(|tensor| text(tensor, 8)).collect()
}

/// Names of the values that the nodes of a model's graph make, in their order.
pub fn values(model: &[u8]) -> Vec<&str> {
    let made = |node| fields(node).filter(|field| field.number == 2).map(|field| utf8(&field));
    parts(model, 1).flat_map(made).filter(|name| !name.is_empty()).collect()
}

/// Names of the outputs of a model's graph.
pub fn outputs(model: &[u8]) -> Vec<&str> {
    parts(model, 12).map(|output| text(output, 1)).collect()
}

/// The model with these values among the outputs of its graph, behind its own: runtimes find out their shapes.
pub fn with_outputs<'n>(model: &[u8], names: impl IntoIterator<Item = &'n str>) -> Vec<u8> {
    let mut more = Vec::new();
    for name in names {
        let mut info = Vec::new();
        put_bytes(&mut info, 1, name.as_bytes());
        put_bytes(&mut more, 12, &info);
    }
    // A message that stands twice is merged, its lists one after the other.
    let mut whole = model.to_vec();
    if !more.is_empty() {
        put_bytes(&mut whole, 7, &more);
    }
    whole
}

/// The messages with this number in the graph of a model.
fn parts(model: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    let graphs = fields(model).filter(|field| field.number == 7).filter_map(|field| field.bytes());
    graphs.flat_map(fields).filter(move |field| field.number == number).filter_map(|field| field.bytes())
}

/// Appends a field of bytes.
pub fn put_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a field of a whole number.
pub fn put_number(out: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(out, number << 3);
    put_varint(out, value);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Vec::new();
        put_bytes(&mut message, 300, b"abc");
        message.extend([0x08, 0x96, 0x01]); // field 1: 150
        message.extend([0x15, 1, 2, 3, 4]); // field 2: four bytes
        put_bytes(&mut message, 8, &[1, 0xac, 0x02]);
        let found: Vec<Field<'_>> = fields(&message).collect();
        let numbers: Vec<u64> = found.iter().map(|field| field.number).collect();
        assert_eq!(numbers, [300, 1, 2, 8]);
        assert_eq!((found[0].bytes(), found[1].varint()), (Some(&b"abc"[..]), Some(150)));
        assert_eq!((found[2].value, varints(&found[3])), (Value::Fixed, vec![1, 300]));
        assert_eq!(found.iter().flat_map(|field| field.whole).copied().collect::<Vec<u8>>(), message);
    }

    #[test]
    fn outputs_are_added_behind_a_graphs_own() {
        let (mut node, mut output, mut graph, mut model) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut node, 2, b"inner");
        put_bytes(&mut node, 2, b"");
        put_bytes(&mut node, 2, b"y");
        put_bytes(&mut output, 1, b"y");
        put_bytes(&mut graph, 1, &node);
        put_bytes(&mut graph, 12, &output);
        put_bytes(&mut model, 7, &graph);
        assert_eq!((values(&model), outputs(&model)), (vec!["inner", "y"], vec!["y"]));
        let tapped = with_outputs(&model, ["inner"]);
        assert_eq!((values(&tapped), outputs(&tapped)), (vec!["inner", "y"], vec!["y", "inner"]));
        assert_eq!(with_outputs(&model, []), model);
        assert!(values(b"no model").is_empty());
    }

    #[test]
    fn damage_ends_the_message() {
        for bytes in [&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0x08], &[0x0f], &[0xff; 40], &[0x09, 1]] {
            assert_eq!(fields(bytes).count(), 0, "{bytes:?}");
        }
        assert_eq!(fields(&[0x08, 1, 0x0a, 9, 1]).count(), 1);
    }
}
