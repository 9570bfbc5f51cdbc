//! One load balancer with one configuration, from its start to the death of a gateway.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::bare::{self, BareUpstream, Plain};
use super::body::{self, BodyFate};
use super::crowd;
use super::death::{self, Death};
use super::installation::{Installation, Workshop};
use super::leave;
use super::life::{self, Life};
use super::loopback::{Loopback, Ports};
use super::product::{Form, Product};
use crate::machine::Balancer;
use crate::report::progress::Progress;

/// The parts that all trials share.
#[derive(Debug)]
pub(super) struct LbTrial<'a> {
    pub(super) workshop: Workshop<'a>,
    pub(super) ports: &'a Ports,
    pub(super) hold: Duration,
    pub(super) streams: usize,
    pub(super) progress: &'a Progress,
    /// Starts, delays, many streams and deaths take CPU time, so they come one after the other; all starts come
    /// first.
    pub(super) turn: Arc<Semaphore>,
}

/// The results of a load balancer with a configuration.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) product: &'static Product,
    pub(super) form: Form,
    pub(super) version: String,
    /// The error if it could not be measured, for instance because it refuses its configuration.
    pub(super) figures: Result<LbFigures>,
}

/// The figures of a trial.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LbFigures {
    pub(super) heartbeat_15: Life,
    pub(super) heartbeat_60: Life,
    pub(super) delay_ms: Option<f64>,
    pub(super) body: BodyFate,
    pub(super) living: usize,
    /// When a client that left is noticed, with an event a second and with heartbeats alone.
    pub(super) left_busy: Option<Duration>,
    pub(super) left_quiet: Option<Duration>,
    pub(super) death: Death,
    pub(super) plain: Plain,
}

impl LbTrial<'_> {
    /// Runs a trial; `number` and the next one are its addresses.
    pub(super) async fn run(
        &self,
        number: u8,
        product: &'static Product,
        form: Form,
        program: PathBuf,
        version: String,
    ) -> Measured {
        let figures = self.measure(number, product, form, &program).await;
        let outcome = match &figures {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        self.progress.say(&format!("{} ({}): {outcome}", product.title, form.as_str()));
        Measured { product, form, version, figures }
    }

    async fn measure(
        &self,
        number: u8,
        product: &Product,
        form: Form,
        program: &Path,
    ) -> Result<LbFigures> {
        let loopback = Loopback { ports: self.ports, number };
        let bare_loopback = Loopback { ports: self.ports, number: number + 1 };
        let turn = self.turn.acquire().await?;
        let bare = self.start_bare(&bare_loopback, product, form, program).await?;
        let mut installation =
            Installation::start(&self.workshop, &loopback, product, form, program).await?;
        drop(turn);
        let plain = bare::measure(bare.1.addr(), &bare.0).await?;
        drop(bare);
        // These count the streams of the gateways, so no other stream may be there.
        let left_busy = leave::noticed(&installation, true).await?;
        let left_quiet = leave::noticed(&installation, false).await?;
        let topic = installation.topic("idle");
        let short = async {
            let _turn = self.turn.acquire().await?;
            anyhow::Ok((
                crowd::delay(&installation).await?,
                crowd::living(&installation, self.streams).await?,
            ))
        };
        let (heartbeat_15, heartbeat_60, body, short) = tokio::join!(
            life::hold(installation.web(), &topic, 15, self.hold),
            life::hold(installation.web(), &topic, 60, self.hold),
            body::send(&installation, self.hold),
            short,
        );
        let (delay_ms, living) = short?;
        let body = body?;
        let _turn = self.turn.acquire().await?;
        let death = death::strike(&mut installation).await?;
        Ok(LbFigures {
            heartbeat_15,
            heartbeat_60,
            delay_ms,
            body,
            living,
            left_busy,
            left_quiet,
            death,
            plain,
        })
    }

    async fn start_bare(
        &self,
        loopback: &Loopback<'_>,
        product: &Product,
        form: Form,
        program: &Path,
    ) -> Result<(BareUpstream, Balancer)> {
        let upstream = BareUpstream::start(loopback).await?;
        let directory =
            self.workshop.out.join(format!("{}-{}-bare", loopback.number, product.folder));
        let balancer =
            loopback.start(product, form, program, self.workshop.files, &directory).await?;
        Ok((upstream, balancer))
    }
}
