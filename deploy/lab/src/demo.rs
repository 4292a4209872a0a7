//! `lab demo`: what a newcomer sees first.
use crate::paint::Screen;
use anyhow::Result;
pub(crate) fn run(_screen: Screen) -> Result<bool> {
    Ok(true)
}
