//! A sparse matrix by rows: what a user rated, or who rated an item.

/// Rows of column numbers, ascending, each with a value; compressed, so that a row costs 8 bytes beside what it holds.
pub struct SparseRows<V> {
    /// Where each row begins, and the end of the last one.
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<V>,
}

impl<V: Copy + Default> SparseRows<V> {
    /// The matrix of these `(row, column, value)`, of rows below `rows`; `entries` is asked twice. Values at one place are merged in
    /// the order in which they come.
    pub fn new<I>(rows: usize, entries: impl Fn() -> I, merge: impl Fn(&mut V, V)) -> Self
    where
        I: Iterator<Item = (u32, u32, V)>,
    {
        let mut ends = vec![0; rows + 1];
        entries().for_each(|(row, ..)| ends[row as usize + 1] += 1);
        (1..=rows).for_each(|row| ends[row] += ends[row - 1]);
        let (mut columns, mut values) = (vec![0; ends[rows]], vec![V::default(); ends[rows]]);
        // Each place of `ends` moves from the beginning of its row to the end.
        entries().for_each(|(row, column, value)| {
            let place = &mut ends[row as usize];
            (columns[*place], values[*place]) = (column, value);
            *place += 1;
        });
        let (mut starts, mut start, mut kept) = (Vec::with_capacity(rows + 1), 0, 0);
        let mut row: Vec<(u32, V)> = Vec::new();
        for &end in &ends[..rows] {
            starts.push(kept);
            row.clear();
            row.extend(columns[start..end].iter().copied().zip(values[start..end].iter().copied()));
            row.sort_by_key(|entry| entry.0);
            let first = kept;
            for &(column, value) in &row {
                if kept > first && columns[kept - 1] == column {
                    merge(&mut values[kept - 1], value);
                } else {
                    (columns[kept], values[kept]) = (column, value);
                    kept += 1;
                }
            }
            start = end;
        }
        starts.push(kept);
        columns.truncate(kept);
        values.truncate(kept);
        columns.shrink_to_fit();
        values.shrink_to_fit();
        Self { starts, columns, values }
    }

    /// The same matrix by its `columns` columns.
    #[must_use]
    pub fn transposed(&self, columns: usize) -> Self {
        let entries = || {
            let row = |row: usize| self.row(row).map(move |(column, value)| (column, row as u32, value));
            (0..self.rows()).flat_map(row)
        };
        Self::new(columns, entries, |_, _| unreachable!("a place of a matrix holds one value"))
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many places hold a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether no place holds a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The columns of a row, ascending.
    #[must_use]
    pub fn columns(&self, row: usize) -> &[u32] {
        &self.columns[self.starts[row]..self.starts[row + 1]]
    }

    /// The columns of a row, ascending, and what stands there.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (u32, V)> {
        let range = self.starts[row]..self.starts[row + 1];
        self.columns[range.clone()].iter().copied().zip(self.values[range].iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_what_stands_twice_is_merged() {
        let entries = [(2, 1, 1.0), (0, 3, 2.0), (2, 0, 4.0), (2, 1, 8.0), (0, 1, 16.0)];
        let matrix = SparseRows::new(4, || entries.into_iter(), |sum, value| *sum += value);
        let row = |matrix: &SparseRows<f64>, row| matrix.row(row).collect::<Vec<_>>();
        assert_eq!((matrix.rows(), matrix.len()), (4, 4));
        assert_eq!(row(&matrix, 0), [(1, 16.0), (3, 2.0)]);
        assert_eq!(row(&matrix, 2), [(0, 4.0), (1, 9.0)]);
        assert!(matrix.columns(1).is_empty() && matrix.columns(3).is_empty());
        let turned = matrix.transposed(5);
        assert_eq!(turned.rows(), 5);
        assert_eq!(row(&turned, 1), [(0, 16.0), (2, 9.0)]);
        assert!(turned.columns(2).is_empty() && turned.columns(4).is_empty());
    }
}
