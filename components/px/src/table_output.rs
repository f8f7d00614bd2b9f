use std::collections::BTreeMap;
use std::io::Write;

use arrow::record_batch::RecordBatch;
use client::Table;
use tables::{ColumnDef, SemanticType};
use unicode_width::UnicodeWidthStr as _;

use crate::Error;
use crate::output::Printer;
use crate::value::Value;

/// Rows of one table that are held to align its columns; then they are printed and a new block begins.
const ROWS_HELD_MAX: usize = 100_000;

/// Between two columns.
const GAP: &str = "  ";

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

#[derive(Clone)]
struct Cell {
    text: String,
    colour: Option<&'static str>,
}

/// Aligned columns. A table is printed when it is complete.
pub(crate) struct TableOutput<'a> {
    to: &'a mut dyn Write,
    colour: bool,
    held: BTreeMap<usize, Vec<Vec<Cell>>>,
    printed: bool,
}

impl<'a> TableOutput<'a> {
    pub(crate) fn new(to: &'a mut dyn Write, colour: bool) -> TableOutput<'a> {
        TableOutput { to, colour, held: BTreeMap::new(), printed: false }
    }

    fn print(&mut self, table: &Table, rows: &[Vec<Cell>]) -> Result<(), Error> {
        let header = table
            .relation
            .columns
            .iter()
            .map(|c| Cell { text: c.name.to_uppercase().replace('_', " ").trim_end().to_owned(), colour: None });
        let header: Vec<Cell> = header.collect();
        let mut text = String::new();
        if std::mem::replace(&mut self.printed, true) {
            text.push('\n');
        }
        text.extend(["Table ID: ", &table.name, "\n"]);
        text.push_str(&aligned(std::iter::once(&header).chain(rows), self.colour));
        self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()).map_err(Error::output)
    }
}

impl Printer for TableOutput<'_> {
    fn rows(&mut self, index: usize, table: &Table, batch: &RecordBatch) -> Result<(), Error> {
        let held = self.held.entry(index).or_default();
        for row in 0..batch.num_rows() {
            let columns = table.relation.columns.iter().zip(batch.columns());
            held.push(columns.map(|(column, array)| cell(column, &Value::of(array, column.data_type, row))).collect());
        }
        if held.len() > ROWS_HELD_MAX {
            let rows = std::mem::take(held);
            self.print(table, &rows)?;
        }
        Ok(())
    }

    fn end(&mut self, index: usize, table: &Table) -> Result<(), Error> {
        let rows = self.held.remove(&index).unwrap_or_default();
        self.print(table, &rows)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Plain rows in aligned columns.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(|text| Cell { text: text.clone(), colour: None }).collect()).collect();
    aligned(rows.iter(), false)
}

fn aligned<'a>(rows: impl Iterator<Item = &'a Vec<Cell>> + Clone, colour: bool) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows.clone() {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    let mut text = String::new();
    for row in rows {
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match cell.colour.filter(|_| colour) {
                Some(code) => text.extend([code, &cell.text, RESET]),
                None => text.push_str(&cell.text),
            }
            // No spaces at the end of a line.
            if i + 1 < row.len() {
                text.push_str(&" ".repeat(width - cell.text.width()));
                text.push_str(GAP);
            }
        }
        text.push('\n');
    }
    text
}

fn cell(column: &ColumnDef, value: &Value<'_>) -> Cell {
    Cell { text: value.pretty(column), colour: colour(column, value) }
}

/// Reference: cli-ui.md §1.5.
#[expect(clippy::wildcard_enum_match_arm, reason = "a new meaning has no colour until it is given one")]
fn colour(column: &ColumnDef, value: &Value<'_>) -> Option<&'static str> {
    /// From here on something is slow, from there on it is bad.
    fn levels(number: f64, slow: f64, bad: f64) -> Option<&'static str> {
        if number > bad { Some(RED) } else { (number > slow).then_some(YELLOW) }
    }
    let name = column.name.as_str();
    if let Value::Bool(value) = value {
        if name == "alert" || name.starts_with("alert_") {
            return value.then_some(RED);
        }
        return Some(if *value { GREEN } else { RED });
    }
    let number = value.number()?;
    match column.semantic_type {
        SemanticType::HttpRespStatus if number >= 400.0 => Some(RED),
        SemanticType::HttpRespStatus if (200.0..300.0).contains(&number) => Some(GREEN),
        SemanticType::DurationNs if name.starts_with("latency") => levels(number, 200e6, 400e6),
        SemanticType::Percent if name.starts_with("cpu") => levels(number * 100.0, 70.0, 80.0),
        _ => None,
    }
}
