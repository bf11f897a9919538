//! What a pickle is made of: objects in an arena that refer to each other by number, so that neither depth nor cycles
//! can overflow the stack, and so that an object which is used a million times is stored once.

/// Longest text that can be a name; a longer one is data.
const LONGEST_NAME: usize = 1000;

/// Number of an object in its [`Arena`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::read) struct Id(usize);

/// One unpickled object.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::read) enum Object {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 8 bytes, little-endian.
    Long(Vec<u8>),
    Float(f64),
    Str(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module`, `name`.
    Global(String, String),
    Storage(Storage),
    Tensor(Tensor),
    /// A byte string that is no text: where it is in the file.
    Raw {
        start: usize,
        end: usize,
    },
    /// The bytes that a text of Latin letters stands for: the id of the text.
    Latin(Id),
    /// Numpy's unsigned bytes as an element type, where `true`; any other type otherwise.
    ElementType(bool),
    /// An array of numpy that has no content yet.
    Unfilled,
    /// An array of unsigned bytes.
    Bytes(ByteArray),
    /// What a name without a meaning here would have built: the id of the name.
    Built(Id),
    /// Something else without a meaning here.
    Other(&'static str),
}

/// Bytes of tensors, to be found in the file under a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::read) struct Storage {
    /// Element type; `None` for one that weights do not have.
    pub(in crate::read) element: Option<Element>,
    /// The key's text.
    pub(in crate::read) key: Id,
    /// First element (a storage may be a view of another one).
    pub(in crate::read) start: usize,
    /// Number of elements.
    pub(in crate::read) count: usize,
}

/// A view of a storage, in elements.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::read) struct Tensor {
    pub(in crate::read) storage: Storage,
    pub(in crate::read) offset: usize,
    pub(in crate::read) shape: Vec<usize>,
    pub(in crate::read) strides: Vec<usize>,
}

/// An array of unsigned bytes, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::read) struct ByteArray {
    pub(in crate::read) shape: Vec<usize>,
    /// Where its bytes are: [`Object::Raw`], [`Object::Str`] or [`Object::Latin`].
    pub(in crate::read) elements: Id,
}

/// Element types that become `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::read) enum Element {
    U8,
    I8,
    I16,
    I32,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

impl Element {
    /// From the name of a storage class.
    pub(super) fn of_class(name: &str) -> Option<Self> {
        match name {
            "ByteStorage" | "BoolStorage" => Some(Self::U8),
            "CharStorage" => Some(Self::I8),
            "ShortStorage" => Some(Self::I16),
            "IntStorage" => Some(Self::I32),
            "LongStorage" => Some(Self::I64),
            "HalfStorage" => Some(Self::F16),
            "BFloat16Storage" => Some(Self::Bf16),
            "FloatStorage" => Some(Self::F32),
            "DoubleStorage" => Some(Self::F64),
            _ => None,
        }
    }

    /// Size in bytes.
    pub(in crate::read) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }
}

/// All objects of a file.
#[derive(Debug, Default)]
pub(in crate::read) struct Arena(Vec<Object>);

impl Arena {
    pub(in crate::read) fn get(&self, id: Id) -> &Object {
        &self.0[id.0]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Object {
        &mut self.0[id.0]
    }

    pub(super) fn add(&mut self, object: Object) -> Id {
        self.0.push(object);
        Id(self.0.len() - 1)
    }

    /// A text that can be a name.
    pub(in crate::read) fn name(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Object::Str(text) if text.len() <= LONGEST_NAME => Some(text),
            _ => None,
        }
    }

    pub(super) fn count(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Object::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// Every storage that the file names, tensors or not.
    pub(in crate::read) fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.0.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// What an object is, for people.
    pub(in crate::read) fn describe(&self, id: Id) -> String {
        match self.get(id) {
            Object::None => "None".to_owned(),
            Object::Bool(_) => "truth value".to_owned(),
            Object::Int(_) | Object::Long(_) | Object::Float(_) => "number".to_owned(),
            Object::Str(_) => "text".to_owned(),
            Object::Tuple(_) | Object::List(_) => "list".to_owned(),
            Object::Dict(_) => "dictionary".to_owned(),
            Object::Global(module, name) => format!("{module}.{name}"),
            Object::Storage(_) => "storage".to_owned(),
            Object::Tensor(_) => "tensor".to_owned(),
            Object::Raw { .. } | Object::Latin(_) => "bytes".to_owned(),
            Object::ElementType(_) => "numpy.dtype".to_owned(),
            Object::Unfilled | Object::Bytes(_) => "numpy.ndarray".to_owned(),
            Object::Built(callable) => match self.get(*callable) {
                Object::Global(module, name) => format!("{module}.{name}"),
                _ => "object".to_owned(),
            },
            Object::Other(what) => (*what).to_owned(),
        }
    }
}
