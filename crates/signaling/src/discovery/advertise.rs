//! Telling the network about shared rooms, and taking it back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mdns_sd::{DaemonEvent, Receiver, ServiceDaemon, ServiceInfo};

use super::tag::{Advert, Hour, MAX_ROOMS};
use super::{Discovery, SERVICE_TYPE};
use crate::room_code::RoomNumber;

/// How long saying goodbye may take when the program ends.
const GOODBYE: Duration = Duration::from_millis(500);

/// Announces the shared rooms of one server, and nothing while there are none.
pub(crate) struct Advertiser {
    discovery: Discovery,
    port: u16,
    announcing: Option<Announcing>,
}

struct Announcing {
    daemon: ServiceDaemon,
    reports: Receiver<DaemonEvent>,
    said: Option<Said>,
}

/// What the network was told last, and under which name.
struct Said {
    advert: Advert,
    addresses: Vec<IpAddr>,
    full_name: String,
}

impl Advertiser {
    /// Nothing is announced yet. `port` is the server's.
    pub(crate) fn new(discovery: Discovery, port: u16) -> Self {
        Self {
            discovery,
            port,
            announcing: None,
        }
    }

    /// Makes what the network knows be what is true at `now`: `rooms`, at `addresses` on which the
    /// server really listens. To be called when either changes, and often enough that a new hour
    /// is noticed.
    pub(crate) fn update(
        &mut self,
        rooms: &BTreeSet<RoomNumber>,
        addresses: &[IpAddr],
        now: SystemTime,
    ) {
        if rooms.is_empty() || addresses.is_empty() {
            // The daemon says goodbye for what it announced.
            self.announcing = None;
            return;
        }
        if rooms.len() > MAX_ROOMS {
            tracing::warn!(
                rooms = rooms.len(),
                "more rooms than can be announced on the network"
            );
        }
        let advert = Advert::new(rooms.iter().copied(), Hour::of(now));
        if let Err(error) = self.say(advert, addresses) {
            tracing::warn!(%error, "cannot announce rooms on the local network");
            self.announcing = None;
        }
    }

    /// Says goodbye and waits, briefly, until that is done.
    pub(crate) async fn stop(mut self) {
        let Some(announcing) = self.announcing.take() else {
            return;
        };
        if let Ok(done) = announcing.daemon.shutdown() {
            // Whoever hears no goodbye finds a closed port instead.
            let _ = tokio::time::timeout(GOODBYE, done.recv_async()).await;
        }
    }

    fn say(&mut self, advert: Advert, addresses: &[IpAddr]) -> mdns_sd::Result<()> {
        let announcing = match &mut self.announcing {
            Some(announcing) => announcing,
            None => self.announcing.insert(Announcing::start(self.discovery)?),
        };
        announcing.log_reports();
        let unchanged = announcing
            .said
            .as_ref()
            .is_some_and(|said| said.advert == advert && said.addresses == addresses);
        if unchanged {
            return Ok(());
        }
        announcing.say(advert, addresses, self.port)
    }
}

impl Announcing {
    fn start(discovery: Discovery) -> mdns_sd::Result<Self> {
        let daemon = discovery.daemon()?;
        let reports = daemon.monitor()?;
        Ok(Self {
            daemon,
            reports,
            said: None,
        })
    }

    /// Under a new name each time: the old records are taken back rather than contradicted, and
    /// nobody can follow a computer by its name.
    fn say(&mut self, advert: Advert, addresses: &[IpAddr], port: u16) -> mdns_sd::Result<()> {
        if let Some(said) = self.said.take() {
            self.daemon.unregister(&said.full_name)?;
        }
        let name = format!("{:016x}", rand::random::<u64>());
        let service = ServiceInfo::new(
            SERVICE_TYPE,
            &name,
            &format!("{name}.local."),
            addresses,
            port,
            &advert.properties()[..],
        )?;
        let full_name = service.get_fullname().to_owned();
        self.daemon.register(service)?;
        self.said = Some(Said {
            advert,
            addresses: addresses.to_vec(),
            full_name,
        });
        Ok(())
    }

    /// What went wrong since the last time: the daemon opens its sockets on its own thread.
    fn log_reports(&self) {
        for report in self.reports.try_iter() {
            if let DaemonEvent::Error(error) = report {
                tracing::warn!(%error, "announcing rooms on the local network");
            }
        }
    }
}

impl Drop for Announcing {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.daemon.shutdown();
    }
}
