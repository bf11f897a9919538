//! Who is who in a plan: ids that only a plan makes, and tables that are read by them.
//!
//! An id is made by putting something into its table, so that what it names is there; a student's id does not read a table
//! of teachers.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// A position in a [`Table`] of its kind.
pub(crate) trait Id: Copy + Ord {
    fn at(index: usize) -> Self;
    fn index(self) -> usize;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(usize);

        impl Id for $name {
            fn at(index: usize) -> Self {
                Self(index)
            }

            fn index(self) -> usize {
                self.0
            }
        }
    )*};
}

ids! {
    /// A network that learns: the student, or a peer.
    StudentId,
    /// A network that only answers.
    TeacherId,
    /// A view of the batch.
    ViewId,
    /// A loss.
    LossId,
    /// A small network between a tap and a loss.
    ConnectorId,
    /// Of a wiring: one student's pass over one view.
    PassId,
    /// Of a wiring: one view, put to one teacher.
    QuestionId,
}

impl StudentId {
    /// The student that is exported: the first of every plan.
    pub(crate) const EXPORTED: Self = Self(0);
}

impl ViewId {
    /// The batch as it is: the first of every plan.
    pub(crate) const CLEAN: Self = Self(0);
}

/// Rows that are read by their ids.
#[derive(Debug, Clone)]
pub(crate) struct Table<I, T> {
    rows: Vec<T>,
    ids: PhantomData<I>,
}

impl<I, T> Default for Table<I, T> {
    fn default() -> Self {
        Self { rows: Vec::new(), ids: PhantomData }
    }
}

impl<I: Id, T> Table<I, T> {
    /// Adds a row.
    pub(crate) fn push(&mut self, row: T) -> I {
        self.rows.push(row);
        I::at(self.rows.len() - 1)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The ids in their order.
    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = I> + use<I, T> {
        (0..self.rows.len()).map(I::at)
    }

    /// The rows in the order of their ids.
    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.rows.iter()
    }

    pub(crate) fn rows_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.rows.iter_mut()
    }

    /// Ids and rows.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (I, &T)> {
        self.rows.iter().enumerate().map(|(index, row)| (I::at(index), row))
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (I, &mut T)> {
        self.rows.iter_mut().enumerate().map(|(index, row)| (I::at(index), row))
    }

    /// The first row for which `is` holds.
    pub(crate) fn find(&self, is: impl FnMut(&T) -> bool) -> Option<I> {
        self.rows.iter().position(is).map(I::at)
    }

    /// The only row; how many there are, if not one.
    pub(crate) fn only(mut self) -> Result<T, usize> {
        match (self.rows.len(), self.rows.pop()) {
            (1, Some(row)) => Ok(row),
            (count, _) => Err(count),
        }
    }

    /// A table of what `make` makes of every row, with the same ids.
    pub(crate) fn try_map<U, E>(self, mut make: impl FnMut(I, T) -> Result<U, E>) -> Result<Table<I, U>, E> {
        let made = self.rows.into_iter().enumerate().map(|(index, row)| make(I::at(index), row));
        Ok(Table { rows: made.collect::<Result<_, E>>()?, ids: PhantomData })
    }
}

impl<I, T> FromIterator<T> for Table<I, T> {
    fn from_iter<R: IntoIterator<Item = T>>(rows: R) -> Self {
        Self { rows: rows.into_iter().collect(), ids: PhantomData }
    }
}

impl<I: Id, T> Extend<T> for Table<I, T> {
    fn extend<R: IntoIterator<Item = T>>(&mut self, rows: R) {
        self.rows.extend(rows);
    }
}

impl<I: Id, T> Index<I> for Table<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        &self.rows[id.index()]
    }
}

impl<I: Id, T> IndexMut<I> for Table<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.rows[id.index()]
    }
}
