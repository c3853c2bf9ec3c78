//! Text tables.

use std::fmt::{self, Write as _};

/// Rows of texts in columns as wide as their widest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| plain(&cell)).to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> = (0..columns)
            .map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:<width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Without terminal control characters.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            plain.extend(char.escape_default());
        } else {
            plain.push(char);
        }
    }
    plain
}

/// `count` of `most` as a line of blocks, at least one.
pub fn bar(count: i64, most: i64) -> String {
    const WIDTH: i128 = 40;
    let (count, most) = (i128::from(count), i128::from(most));
    let length = (count * WIDTH + most / 2) / most.max(1);
    "█".repeat(usize::try_from(length.clamp(1, WIDTH)).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["ID", "WHERE", "N"]);
        table.row(["1".into(), "café.csv".into(), "12".into()]);
        table.row(["long one".into(), "\u{1b}[31mx".into(), String::new()]);
        let expected =
            "ID        WHERE        N\n1         café.csv     12\nlong one  \\u{1b}[31mx\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn bars_are_in_proportion() {
        let length = |count, most| bar(count, most).chars().count();
        assert_eq!([length(10, 10), length(5, 10), length(1, 1_000_000)], [40, 20, 1]);
        assert_eq!([length(i64::MAX, i64::MAX), length(0, 0), length(-1, -1)], [40, 1, 1]);
    }
}
