//! A page that is made from the code: written on demand, compared in CI.

use anyhow::{Context, Result, bail};

use crate::project;

/// Where the page is, and what it should say.
pub(super) struct Page {
    /// From the root.
    pub(super) path: &'static str,
    pub(super) make: fn() -> Result<String>,
}

impl Page {
    pub(super) fn write(&self) -> Result<()> {
        let path = project::root().join(self.path);
        std::fs::write(&path, (self.make)()?).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{} written", self.path);
        Ok(())
    }

    pub(super) fn check(&self) -> Result<()> {
        let path = project::root().join(self.path);
        let committed =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if committed != (self.make)()? {
            bail!("{} is out of date. Run: cargo xtask docs --write", self.path);
        }
        println!("{} is up to date", self.path);
        Ok(())
    }
}
