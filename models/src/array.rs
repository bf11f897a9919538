//! Dense arrays of the element types that files and quantised networks hold.

use half::{bf16, f16};

use crate::error::{Error, Result};

/// A dense row-major array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements in row-major order; as many as the shape says.
    pub elements: Elements,
}

/// A number that an array can hold. The types are those of [`Elements`] and no others.
pub trait Element: sealed::Sealed + Copy + PartialEq + std::fmt::Debug + 'static {
    /// The name in safetensors files, e.g. `F32`.
    const NAME: &'static str;
    /// Wraps numbers of this type.
    fn wrap(values: Vec<Self>) -> Elements;
    /// The numbers, where they are of this type.
    fn of(elements: &Elements) -> Option<&[Self]>;
    /// The numbers to be changed, where they are of this type.
    fn of_mut(elements: &mut Elements) -> Option<&mut [Self]>;
    /// The numbers taken out, where they are of this type.
    fn take(elements: Elements) -> Option<Vec<Self>>;
}

mod sealed {
    /// Nobody else adds an element type.
    pub trait Sealed {}
}

/// Defines [`Elements`], what is asked of each of its types, and their [`Element`].
macro_rules! elements {
    ($($(#[$doc:meta])* $kind:ident($type:ty) = $name:literal;)*) => {
        /// Numbers of one type.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Elements {
            $($(#[$doc])* $kind(Vec<$type>),)*
        }

        impl Elements {
            /// How many there are.
            pub fn len(&self) -> usize {
                match self { $(Self::$kind(values) => values.len(),)* }
            }

            /// The name of the type in safetensors files, e.g. `F32`.
            pub fn type_name(&self) -> &'static str {
                match self { $(Self::$kind(_) => $name,)* }
            }

            /// Bytes of one element.
            pub fn width(&self) -> usize {
                match self { $(Self::$kind(_) => size_of::<$type>(),)* }
            }

            /// The bytes of all elements, little-endian, handed on a block at a time.
            ///
            /// # Errors
            /// The first error of `write`, which ends the walk.
            pub fn le_bytes<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
                match self {
                    $(Self::$kind(values) => values.chunks(1 << 14).try_for_each(|chunk| {
                        write(&chunk.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
                    }),)*
                }
            }

            /// Elements of the type called `name` from little-endian bytes; `None` where there is no such type. Bytes behind
            /// the last whole element are left out.
            pub fn from_le_bytes(name: &str, bytes: &[u8]) -> Option<Self> {
                match name {
                    $($name => {
                        let whole = bytes.as_chunks().0.iter();
                        Some(Self::$kind(whole.map(|chunk| <$type>::from_le_bytes(*chunk)).collect()))
                    })*
                    _ => None,
                }
            }

            /// The names of all types, in the order of the variants.
            pub const TYPES: &'static [&'static str] = &[$($name),*];
        }

        $(
            impl sealed::Sealed for $type {}

            impl Element for $type {
                const NAME: &'static str = $name;

                fn wrap(values: Vec<Self>) -> Elements {
                    Elements::$kind(values)
                }

                fn of(elements: &Elements) -> Option<&[Self]> {
                    if let Elements::$kind(values) = elements { Some(values) } else { None }
                }

                fn of_mut(elements: &mut Elements) -> Option<&mut [Self]> {
                    if let Elements::$kind(values) = elements { Some(values) } else { None }
                }

                fn take(elements: Elements) -> Option<Vec<Self>> {
                    if let Elements::$kind(values) = elements { Some(values) } else { None }
                }
            }
        )*
    };
}

elements! {
    /// Weights as they are trained.
    F32(f32) = "F32";
    /// IEEE half precision.
    F16(f16) = "F16";
    /// The upper half of an `f32`.
    Bf16(bf16) = "BF16";
    /// Quantised weights.
    I8(i8) = "I8";
    /// Bytes, quantised activations.
    U8(u8) = "U8";
    /// Sums of quantised products, biases.
    I32(i32) = "I32";
    /// Counts, classes, indices.
    U32(u32) = "U32";
    /// Shapes, and labels of which -1 is none.
    I64(i64) = "I64";
}

impl Elements {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Array {
    /// An array from its parts; the elements may be a `Vec` of any type in [`Elements`].
    ///
    /// # Errors
    /// [`Error::Setting`] when the number of elements is not the shape's product.
    pub fn new<T: Element>(shape: Vec<usize>, elements: Vec<T>) -> Result<Self> {
        Self::of_elements(shape, T::wrap(elements))
    }

    /// [`Array::new`] where the type is known only when the program runs.
    ///
    /// # Errors
    /// As [`Array::new`].
    pub fn of_elements(shape: Vec<usize>, elements: Elements) -> Result<Self> {
        // A product that overflows is not the number of elements in any memory.
        let count = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        if count != Some(elements.len()) {
            return Err(problem(format!("{} elements for shape {shape:?}", elements.len())));
        }
        Ok(Self { shape, elements })
    }

    /// The elements as `T`.
    ///
    /// # Errors
    /// [`Error::Setting`] when they are of another type.
    pub fn slice<T: Element>(&self) -> Result<&[T]> {
        T::of(&self.elements).ok_or_else(|| other(T::NAME, self.elements.type_name()))
    }

    /// The elements as `T`, to be changed.
    ///
    /// # Errors
    /// As [`Array::slice`].
    pub fn slice_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let found = self.elements.type_name();
        T::of_mut(&mut self.elements).ok_or_else(|| other(T::NAME, found))
    }

    /// The elements as `T`, without the shape.
    ///
    /// # Errors
    /// As [`Array::slice`].
    pub fn into_vec<T: Element>(self) -> Result<Vec<T>> {
        let found = self.elements.type_name();
        T::take(self.elements).ok_or_else(|| other(T::NAME, found))
    }

    /// [`Array::slice`] of `f32`, which nearly every weight is.
    ///
    /// # Errors
    /// As [`Array::slice`].
    pub fn f32(&self) -> Result<&[f32]> {
        self.slice()
    }

    /// [`Array::slice_mut`] of `f32`.
    ///
    /// # Errors
    /// As [`Array::slice`].
    pub fn f32_mut(&mut self) -> Result<&mut [f32]> {
        self.slice_mut()
    }
}

fn other(expected: &str, found: &str) -> Error {
    problem(format!("elements of type {found}, expected {expected}"))
}

fn problem(problem: String) -> Error {
    Error::Setting { setting: "array", problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of every type: bytes and back, and only its own accessor.
    #[test]
    fn elements_are_what_they_are_and_nothing_else() {
        let all = [
            Elements::F32(vec![1.5, -0.0, f32::MIN_POSITIVE]),
            Elements::F16(vec![f16::from_f32(1.5)]),
            Elements::Bf16(vec![bf16::from_f32(-3.0)]),
            Elements::I8(vec![-128, 127]),
            Elements::U8(vec![0, 255]),
            Elements::I32(vec![i32::MIN, 7]),
            Elements::U32(vec![u32::MAX, (1 << 24) + 1]),
            Elements::I64(vec![-1, i64::MAX]),
        ];
        assert_eq!(all.each_ref().map(Elements::type_name), Elements::TYPES);
        for elements in all {
            let mut bytes = Vec::new();
            let mut keep = |block: &[u8]| {
                bytes.extend(block);
                Ok::<_, ()>(())
            };
            elements.le_bytes(&mut keep).unwrap();
            assert_eq!(bytes.len(), elements.len() * elements.width());
            assert_eq!(Elements::from_le_bytes(elements.type_name(), &bytes).as_ref(), Some(&elements));
            let mut array = Array::of_elements(vec![elements.len()], elements.clone()).unwrap();
            assert_eq!(array.f32().is_ok(), elements.type_name() == "F32");
            assert_eq!(array.slice::<u32>().is_ok(), elements.type_name() == "U32");
            assert_eq!(array.slice_mut::<i64>().is_ok(), elements.type_name() == "I64");
            assert_eq!(array.into_vec::<u8>().is_ok(), elements.type_name() == "U8");
        }
        assert_eq!(Elements::from_le_bytes("F64", &[0; 8]), None);
        let error = Array::new(vec![2], vec![1u32, 2]).unwrap().f32().unwrap_err().to_string();
        assert!(error.contains("elements of type U32, expected F32"), "{error}");
    }

    #[test]
    fn a_shape_must_be_the_number_of_elements() {
        assert!(Array::new(vec![2, 2], vec![0.0f32; 4]).is_ok());
        assert!(Array::new(vec![], vec![0u8]).is_ok());
        for shape in [vec![2, 2], vec![usize::MAX, 3], vec![0]] {
            assert!(Array::new(shape, vec![0i64; 3]).unwrap_err().to_string().contains("3 elements for shape"));
        }
    }
}
