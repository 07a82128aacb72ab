//! Lists of the control plane, shown a page at a time.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{
    client::{Client, Connection},
    output::{self, Format, text_of},
};

/// Which page of a list, from where, and how it is written.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// How many: 1 to 200.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Where to go on: what the page before said.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Page {
    /// Shows a page of the list at `path` as a table: `row` makes a line of an item. Of the filters those count that are given.
    ///
    /// # Errors
    /// The control plane's refusal, or that it cannot be reached; when nothing can be written.
    pub(crate) async fn show(
        &self,
        path: &str,
        filters: impl IntoIterator<Item = (&'static str, Option<&str>)>,
        header: &[&str],
        row: impl Fn(&Value) -> Vec<String>,
    ) -> anyhow::Result<ExitCode> {
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))));
        query.extend(self.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        let page = Client::new(&self.connection)?.get(path, &query).await?;
        if self.format.json {
            output::json_out(&page)?;
            return Ok(ExitCode::SUCCESS);
        }
        let items = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        output::out(&output::table(header, items.iter().map(row)))?;
        if let Some(cursor) = page.get("next_cursor").and_then(Value::as_str) {
            output::remark(&format!("there are more: add --cursor {}", output::clean(cursor)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A row of these members.
pub(crate) fn members(names: &[&str]) -> impl Fn(&Value) -> Vec<String> {
    move |item| names.iter().map(|name| text_of(item, name)).collect()
}
