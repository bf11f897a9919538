//! Matrix products of strided views: the safe door to `gemm`, one thread a call.
#![allow(unsafe_code)] // `gemm::gemm` takes pointers; the views below prove that they are in bounds

use gemm::Parallelism;

/// A matrix inside a slice: element `(row, column)` lies at `row * row_step + column * column_step`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    layout: Layout,
}

/// A matrix that is written.
pub(crate) struct MatrixMut<'a> {
    data: &'a mut [f32],
    layout: Layout,
}

#[derive(Clone, Copy)]
struct Layout {
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl Layout {
    /// Rows that begin `row_step` apart, or a panic when they do not fit `len` elements.
    fn new(len: usize, rows: usize, columns: usize, row_step: usize) -> Self {
        assert!(rows > 0 && columns > 0 && columns <= row_step, "{rows}x{columns} with rows {row_step} apart");
        let last = (rows - 1).checked_mul(row_step).and_then(|start| start.checked_add(columns - 1));
        assert!(last.is_some_and(|last| last < len), "{rows}x{columns} with rows {row_step} apart in {len} values");
        Self { rows, columns, row_step, column_step: 1 }
    }

    fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_step: self.column_step, column_step: self.row_step }
    }
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` values, one after the other.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Rows of `columns` values, `row_step` apart.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, row_step: usize) -> Self {
        Self { layout: Layout::new(data.len(), rows, columns, row_step), data }
    }

    /// The transposed matrix, without a copy.
    pub(crate) fn t(self) -> Self {
        Self { data: self.data, layout: self.layout.transposed() }
    }
}

impl<'a> MatrixMut<'a> {
    /// Rows of `columns` values, one after the other.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Rows of `columns` values, `row_step` apart.
    pub(crate) fn strided(data: &'a mut [f32], rows: usize, columns: usize, row_step: usize) -> Self {
        Self { layout: Layout::new(data.len(), rows, columns, row_step), data }
    }
}

/// `out = a b`, or `out += a b`. The order of additions depends on the shapes and the machine only.
pub(crate) fn product(out: MatrixMut<'_>, accumulate: bool, a: Matrix<'_>, b: Matrix<'_>) {
    let MatrixMut { data: out, layout: to } = out;
    assert!(
        to.rows == a.layout.rows && to.columns == b.layout.columns && a.layout.columns == b.layout.rows,
        "product of {}x{} and {}x{} into {}x{}",
        a.layout.rows,
        a.layout.columns,
        b.layout.rows,
        b.layout.columns,
        to.rows,
        to.columns
    );
    // SAFETY: every layout was checked against the length of its slice, so all elements that `gemm` reads or writes for
    // these extents and steps are in bounds (slices are shorter than `isize::MAX` bytes, so the casts keep the values);
    // `out` is borrowed exclusively, so it overlaps neither `a` nor `b`; its elements are distinct because rows are at
    // least `columns` apart.
    unsafe {
        gemm::gemm(
            to.rows,
            to.columns,
            a.layout.columns,
            out.as_mut_ptr(),
            to.column_step as isize,
            to.row_step as isize,
            accumulate,
            a.data.as_ptr(),
            a.layout.column_step as isize,
            a.layout.row_step as isize,
            b.data.as_ptr(),
            b.layout.column_step as isize,
            b.layout.row_step as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
