//! [`QuerySteps`]: the columns and rows that a scan selects, in the order of the calls.

use polars::prelude::*;

/// The calls of `select` and `filter` of a scan.
#[derive(Clone, Default)]
pub(super) struct QuerySteps(Vec<QueryStep>);

#[derive(Clone)]
enum QueryStep {
    Select(Vec<Expr>),
    Filter(Expr),
}

impl QuerySteps {
    pub(super) fn select(&mut self, columns: Vec<Expr>) {
        self.0.push(QueryStep::Select(columns));
    }

    pub(super) fn filter(&mut self, predicate: Expr) {
        self.0.push(QueryStep::Filter(predicate));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the steps to a query. Polars' optimizer pushes them down to the reader.
    pub(super) fn apply(&self, query: LazyFrame) -> LazyFrame {
        self.0.iter().cloned().fold(query, |query, step| match step {
            QueryStep::Select(columns) => query.select(columns),
            QueryStep::Filter(predicate) => query.filter(predicate),
        })
    }

    /// Whether the query has the rows of the input.
    pub(super) fn keeps_rows(&self) -> bool {
        !matches!(self.as_projection(), Projection::NotPossible)
    }

    /// What the steps are to a reader that can only choose columns.
    pub(super) fn as_projection(&self) -> Projection<'_> {
        match &*self.0 {
            [] => Projection::AllColumns,
            [QueryStep::Select(columns)] if !columns.is_empty() => {
                let names = columns.iter().map(|column| match column {
                    Expr::Column(name) => Some(name),
                    _ => None,
                });
                names.collect::<Option<_>>().map_or(Projection::NotPossible, Projection::Columns)
            }
            _ => Projection::NotPossible,
        }
    }
}

/// The columns that a reader reads.
pub(super) enum Projection<'a> {
    AllColumns,
    /// The columns of these names, in this order.
    Columns(Vec<&'a PlSmallStr>),
    /// The steps filter or compute: only a query can do it.
    NotPossible,
}
