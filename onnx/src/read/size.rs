//! Sizes in a file whose batch is a symbol: so many, or so many for each image.

/// `n`, or `n` times the number of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) n: i64,
    pub(super) per_image: bool,
}

impl Size {
    /// The number of images.
    pub(super) const BATCH: Self = Self { n: 1, per_image: true };

    pub(super) fn of(n: i64) -> Self {
        Self { n, per_image: false }
    }

    /// The number, where it does not depend on the batch.
    pub(super) fn known(self) -> Option<i64> {
        (!self.per_image).then_some(self.n)
    }

    /// `+ - * /` of whole numbers as ONNX has them (division towards zero); `None` where the result cannot be told without
    /// the batch.
    pub(super) fn compute(op: Arithmetic, a: Self, b: Self) -> Option<Self> {
        let same = a.per_image == b.per_image;
        let n = match op {
            Arithmetic::Add => a.n.checked_add(b.n),
            Arithmetic::Sub => a.n.checked_sub(b.n),
            Arithmetic::Mul => a.n.checked_mul(b.n),
            Arithmetic::Div => a.n.checked_div(b.n),
        }?;
        match op {
            Arithmetic::Add | Arithmetic::Sub if same => Some(Self { n, per_image: a.per_image }),
            Arithmetic::Mul if !(a.per_image && b.per_image) => Some(Self { n, per_image: a.per_image || b.per_image }),
            Arithmetic::Div if same => Some(Self::of(n)),
            Arithmetic::Div if a.per_image && b.n != 0 && a.n % b.n == 0 => Some(Self { n, per_image: true }),
            _ => None,
        }
    }
}

/// The four operations of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

impl Arithmetic {
    pub(super) fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batch_stays_a_symbol_as_far_as_it_can() {
        let [two, three] = [2, 3].map(Size::of);
        let batch = Size::BATCH;
        let six = Size::compute(Arithmetic::Mul, two, three);
        assert_eq!(six, Some(Size::of(6)));
        assert_eq!(Size::compute(Arithmetic::Mul, batch, two), Some(Size { n: 2, per_image: true }));
        assert_eq!(Size::compute(Arithmetic::Div, Size { n: 6, per_image: true }, batch), Some(Size::of(6)));
        assert_eq!(
            Size::compute(Arithmetic::Div, Size { n: 6, per_image: true }, three),
            Some(Size { n: 2, per_image: true })
        );
        assert_eq!(Size::compute(Arithmetic::Add, batch, two), None);
        assert_eq!(Size::compute(Arithmetic::Mul, batch, batch), None);
        assert_eq!(Size::compute(Arithmetic::Div, two, Size::of(0)), None);
    }
}
