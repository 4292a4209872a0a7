//! Putting configurations in force: apply, apply on probation, confirm, roll back.
//!
//! A configuration applied with a time limit is taken back when nobody confirms it in time, so that a change that locks
//! its author out undoes itself. The limit outlives this process: the configuration before is kept in the run
//! directory until the confirmation, and a control process that starts and finds it there starts with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::error::ApiError;
use super::view::{Applied, Confirm};
use crate::config::{self, Config, ConfigError, Loaded};
use crate::runtime::Handle;
use crate::runtime::handle::{ApplyError, ApplyReport};

/// The one place configurations are put in force from: HTTP and SIGHUP. Clones share one state.
#[derive(Clone, Debug)]
pub struct Commits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    handle: Handle,
    run_dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In force before the last change.
    previous: Option<Arc<Config>>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    /// The last configuration that nobody has to confirm: what a missing confirmation returns to.
    confirmed: Arc<Config>,
    /// On probation.
    applied: Arc<Config>,
    deadline: Instant,
    timer: AbortHandle,
}

/// In the run directory: the configuration to return to, as a file.
const UNCONFIRMED: &str = "unconfirmed.toml";
/// Probation is at least a moment and at most a day.
const PROBATION: std::ops::RangeInclusive<u64> = 1..=86_400;

/// The configuration to start with after a control process ended while another was on probation; none in general.
pub fn unconfirmed(run_dir: &Path) -> Option<Result<Loaded, ConfigError>> {
    let path = run_dir.join(UNCONFIRMED);
    let loaded = path.exists().then(|| config::load(&path))?;
    // Found once: it is in force from here on, and the next start is an ordinary one.
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove");
    }
    Some(loaded)
}

impl Commits {
    pub fn new(handle: Handle, run_dir: &Path) -> Self {
        let shared = Shared { handle, run_dir: run_dir.to_owned(), state: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Puts a configuration in force for good. An earlier one on probation is settled by it.
    pub async fn apply(&self, config: Config) -> Result<ApplyReport, ApplyError> {
        let mut state = self.shared.state.lock().await;
        let before = self.shared.handle.config();
        let report = self.shared.handle.apply(config).await?;
        self.settle(&mut state);
        if report.changed {
            state.previous = Some(before);
        }
        Ok(report)
    }

    /// Puts a configuration in force until the time has passed or [`Commits::confirm`] is called.
    pub(super) async fn apply_on_probation(
        &self,
        config: Config,
        seconds: u64,
    ) -> Result<ApplyReport, ApiError> {
        if !PROBATION.contains(&seconds) {
            let (from, to) = PROBATION.into_inner();
            return Err(ApiError::BadRequest(format!(
                "a confirmation takes {from} to {to} seconds, not {seconds}"
            )));
        }
        let mut state = self.shared.state.lock().await;
        let before = self.shared.handle.config();
        let confirmed =
            state.pending.as_ref().map_or_else(|| before.clone(), |pending| pending.confirmed.clone());
        // First on disk: from here on a crash leads back.
        let path = self.shared.run_dir.join(UNCONFIRMED);
        std::fs::write(&path, confirmed.to_string()).map_err(|error| {
            ApiError::BadRequest(format!("{} cannot be written: {error}", path.display()))
        })?;
        let report = match self.shared.handle.apply(config).await {
            Ok(report) => report,
            Err(error) => {
                if state.pending.is_none() {
                    self.forget_file();
                }
                return Err(error.into());
            }
        };
        if let Some(pending) = state.pending.take() {
            pending.timer.abort();
        }
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let commits = self.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            commits.expire().await;
        });
        state.previous = Some(before);
        let applied = self.shared.handle.config();
        state.pending = Some(Pending { confirmed, applied, deadline, timer: timer.abort_handle() });
        Ok(report)
    }

    /// Ends the probation: what is in force stays.
    pub(super) async fn confirm(&self) -> Result<(), ApiError> {
        let mut state = self.shared.state.lock().await;
        if state.pending.is_none() {
            return Err(ApiError::Conflict("no configuration waits for a confirmation"));
        }
        self.settle(&mut state);
        Ok(())
    }

    /// Returns to the configuration before the last change, or before the probation. Again: back to the other.
    pub(super) async fn rollback(&self) -> Result<(Arc<Config>, Arc<Config>, ApplyReport), ApiError> {
        let mut state = self.shared.state.lock().await;
        let target = match (&state.pending, &state.previous) {
            (Some(pending), _) => pending.confirmed.clone(),
            (None, Some(previous)) => previous.clone(),
            (None, None) => {
                return Err(ApiError::Conflict("nothing was applied before that could be returned to"));
            }
        };
        let before = self.shared.handle.config();
        let report = self.shared.handle.apply(Config::clone(&target)).await?;
        self.settle(&mut state);
        state.previous = Some(before.clone());
        Ok((before, target, report))
    }

    /// How long the probation lasts, if there is one.
    pub(super) async fn pending(&self) -> Option<Confirm> {
        let state = self.shared.state.lock().await;
        let left = state.pending.as_ref()?.deadline.saturating_duration_since(Instant::now());
        Some(Confirm { seconds_left: left.as_secs() + u64::from(left.subsec_nanos() != 0) })
    }

    /// The time is up.
    async fn expire(&self) {
        let mut state = self.shared.state.lock().await;
        let Some(pending) = state.pending.take() else { return };
        self.forget_file();
        // What somebody else put in force on purpose stays.
        if *self.shared.handle.config() != *pending.applied {
            return;
        }
        tracing::warn!("the configuration was not confirmed in time: returning to the one before");
        match self.shared.handle.apply(Config::clone(&pending.confirmed)).await {
            Ok(_) => state.previous = Some(pending.applied),
            Err(error) => tracing::error!(%error, "the configuration before cannot be put in force"),
        }
    }

    /// What is in force needs no confirmation.
    fn settle(&self, state: &mut State) {
        if let Some(pending) = state.pending.take() {
            pending.timer.abort();
            self.forget_file();
        }
    }

    fn forget_file(&self) {
        let path = self.shared.run_dir.join(UNCONFIRMED);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove: the next start would return to it");
        }
    }
}

/// The answer about a change from one configuration to another.
pub(super) fn applied(
    before: &Config,
    loaded: &Loaded,
    result: Option<ApplyReport>,
    confirm: Option<Confirm>,
    config_file: &Path,
) -> Applied {
    Applied {
        changes: config::diff(before, &loaded.config),
        warnings: loaded.warnings.clone(),
        result,
        confirm,
        config_file: config_file.display().to_string(),
    }
}
