//! What a run looks like while it runs. Every display is made from events alone.

mod plain;

use std::io::{self, Write};

use massgen::orchestrator::Event;

pub(crate) use plain::Plain;

/// Shows events as they come.
pub(crate) trait Display: Send {
    /// Takes one event; it need not be visible yet.
    fn show(&mut self, event: &Event) -> io::Result<()>;

    /// Says that so many events are not shown, because the output did not keep up.
    fn left_out(&mut self, count: u64) -> io::Result<()>;

    /// Makes everything visible. Called whenever no further event waits.
    fn flush(&mut self) -> io::Result<()>;
}

/// One JSON line per event.
pub(crate) struct JsonLines<W>(pub(crate) W);

impl<W: Write + Send> Display for JsonLines<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, event)?;
        self.0.write_all(b"\n")
    }

    /// The numbers of the events show where.
    fn left_out(&mut self, count: u64) -> io::Result<()> {
        tracing::warn!(count, "the output did not keep up; events were left out");
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Nothing while it runs: `--output json` prints one document at the end.
pub(crate) struct Silent;

impl Display for Silent {
    fn show(&mut self, _: &Event) -> io::Result<()> {
        Ok(())
    }

    fn left_out(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
