//! Which device is to be open, and what is told about it: pure.
//!
//! ```text
//!            choose            opened
//!   Closed ─────────▶ Opening ─────────▶ Running ──┐ another one is better: the default
//!                      ▲   ▲                │      │ changed, the chosen one is back
//!     after a pause,   │   └────────────────┼──────┘ (this one runs until that one is open)
//!     or when devices  │                    │ lost, or gone from the list
//!     come and go      └────── Trouble ◀────┘
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Known;
use ahoy_media::device::{DeviceError, DeviceInfo, DeviceKind, DeviceProblem, MediaEvent};

/// Pause after a failure before the same device is tried again; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);
/// A device that is lost is reported if nothing has taken its place by then.
const REPORT_AFTER: Duration = Duration::from_secs(1);
/// One that is lost sooner after it was opened has failed: otherwise a device that opens and dies
/// would be opened again and again without a pause.
const PROVEN_AFTER: Duration = Duration::from_secs(5);

/// What a person chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Whatever the system uses.
    Default,
    /// The device with this id, and the default one as long as it is not there.
    Device(String),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Open this one, or without an id the system's default. What runs goes on meanwhile.
    Open(Option<String>),
    /// Close what runs.
    Close,
}

#[derive(Debug)]
pub(super) struct Healing {
    kind: DeviceKind,
    choice: Option<Choice>,
    /// Unknown as long as the system cannot list them.
    devices: Option<Vec<DeviceInfo>>,
    running: Option<Running>,
    /// The id of what is being opened; inside, `None` is the system's default.
    opening: Option<Option<String>>,
    failures: Vec<Failure>,
    /// What another device will take the place of, and why.
    missed: Option<(Known, DeviceProblem)>,
    /// What was replaced, and is used again when it is back.
    away: Option<Known>,
    /// Why nothing runs, and when that is to be told at the latest.
    trouble: Option<(DeviceError, Instant)>,
    told: Option<DeviceProblem>,
    events: VecDeque<MediaEvent>,
}

#[derive(Debug)]
struct Running {
    device: Known,
    since: Instant,
    /// To be opened anew although it runs.
    stale: bool,
}

#[derive(Debug)]
struct Failure {
    id: Option<String>,
    tries: u32,
    retry_at: Instant,
}

impl Healing {
    pub(super) fn new(kind: DeviceKind) -> Self {
        Self {
            kind,
            choice: None,
            devices: None,
            running: None,
            opening: None,
            failures: Vec::new(),
            missed: None,
            away: None,
            trouble: None,
            told: None,
            events: VecDeque::new(),
        }
    }

    /// Another choice, or none. What is being opened for an earlier one has to be abandoned.
    pub(super) fn choose(&mut self, choice: Option<Choice>) {
        self.opening = None;
        self.failures.clear();
        self.away = None;
        self.trouble = None;
        self.told = None;
        self.missed = match &choice {
            Some(Choice::Device(id)) => Some((self.known(id), DeviceProblem::NotFound)),
            Some(Choice::Default) | None => None,
        };
        self.choice = choice;
    }

    /// What runs has to be opened anew, because it is to be used in another way.
    pub(super) fn reopen(&mut self) {
        self.opening = None;
        if let Some(running) = &mut self.running {
            running.stale = true;
        }
    }

    /// The devices that there are now.
    pub(super) fn listed(&mut self, devices: &[DeviceInfo], now: Instant) {
        if self.devices.as_deref() == Some(devices) {
            return;
        }
        if self.devices.is_some() {
            self.events.push_back(MediaEvent::DevicesChanged {
                kind: self.kind,
                devices: devices.to_vec(),
            });
        }
        self.devices = Some(devices.to_vec());
        // Whatever was wrong may be right now.
        for failure in &mut self.failures {
            failure.retry_at = now;
        }
        if let Some(running) = self.running.as_ref().filter(|it| self.is_gone(it)) {
            self.missed = Some((running.device.clone(), DeviceProblem::Lost));
        }
    }

    /// What was to be opened is open.
    pub(super) fn opened(&mut self, device: Known, now: Instant) {
        let target = self.opening.take().flatten();
        self.failures
            .retain(|it| it.id != target && it.id.as_ref() != Some(&device.id));
        self.trouble = None;
        self.told = None;
        let (kind, label) = (self.kind, device.label.clone());
        self.events.push_back(MediaEvent::Started {
            kind,
            label: label.clone(),
            format: String::new(),
        });
        let missed = self.missed.take();
        if self
            .away
            .take_if(|it| is_same(&it.id, &device.id))
            .is_some()
        {
            self.events.push_back(MediaEvent::Returned { kind, label });
        } else if let Some((lost, problem)) = missed.filter(|(it, _)| !is_same(&it.id, &device.id))
        {
            self.events.push_back(MediaEvent::Replaced {
                kind,
                lost_label: lost.label.clone(),
                label,
                problem,
            });
            if self.is_wanted(&lost.id) {
                self.away = Some(lost);
            }
        }
        self.running = Some(Running {
            device,
            since: now,
            stale: false,
        });
    }

    /// What was to be opened cannot be opened.
    pub(super) fn open_failed(&mut self, error: DeviceError, now: Instant) {
        let Some(target) = self.opening.take() else {
            return;
        };
        if let Some(id) = &target
            && self.away.as_ref().is_none_or(|it| !is_same(&it.id, id))
            && matches!(self.choice, Some(Choice::Device(ref chosen)) if is_same(chosen, id))
        {
            self.missed = Some((self.known(id), error.problem));
        }
        self.fail(target, now);
        if self.running.is_none() && self.trouble.is_none() {
            self.trouble = Some((error, now + REPORT_AFTER));
        }
    }

    /// What ran has failed.
    pub(super) fn lost(&mut self, error: DeviceError, now: Instant) {
        let Some(running) = self.running.take() else {
            return;
        };
        if now.saturating_duration_since(running.since) < PROVEN_AFTER {
            self.fail(Some(running.device.id.clone()), now);
        }
        self.missed = Some((running.device, error.problem));
        self.trouble = Some((error, now + REPORT_AFTER));
    }

    /// What is to be done now. To be called until nothing is.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Step> {
        if self.choice.is_none() {
            return self.running.take().map(|_| Step::Close);
        }
        if let Some((_, due)) = &self.trouble
            && now >= *due
        {
            self.tell();
        }
        if self.opening.is_some() {
            return None;
        }
        for candidate in self.candidates() {
            if self.runs(candidate.as_deref()) {
                return None;
            }
            if !self.is_blocked(candidate.as_deref(), now) {
                self.opening = Some(candidate.clone());
                return Some(Step::Open(candidate));
            }
        }
        if self.running.as_ref().is_some_and(|it| !self.is_gone(it)) {
            return None;
        }
        let gone = self.running.take();
        if self.trouble.is_none() {
            self.trouble = Some((self.nothing_left(gone.is_some()), now));
        }
        self.tell();
        gone.map(|_| Step::Close)
    }

    /// What has happened, in this order.
    pub(super) fn take_event(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// Something is to be done after a while even if nothing happens.
    pub(super) fn is_waiting(&self) -> bool {
        !self.failures.is_empty() || self.trouble.is_some() && self.told.is_none()
    }

    /// What would do, best first.
    fn candidates(&self) -> Vec<Option<String>> {
        let chosen = match &self.choice {
            Some(Choice::Device(id)) => Some(id),
            Some(Choice::Default) | None => None,
        };
        let Some(devices) = &self.devices else {
            let chosen = chosen.map(|id| Some(id.clone()));
            return chosen.into_iter().chain([None]).collect();
        };
        let exact = devices.iter().find(|it| Some(&it.id) == chosen);
        let same = || {
            devices
                .iter()
                .find(|it| chosen.is_some_and(|id| is_same(id, &it.id)))
        };
        let chosen = exact.or_else(same).map(|it| Some(it.id.clone()));
        // A system without a default, or with one that is none of these: any is better than none.
        let default = devices.iter().find(|it| it.is_default);
        let default = default.or(devices.first()).map(|it| Some(it.id.clone()));
        chosen.into_iter().chain(default).collect()
    }

    fn runs(&self, candidate: Option<&str>) -> bool {
        self.running.as_ref().is_some_and(|running| {
            !running.stale && candidate.is_none_or(|id| id == running.device.id)
        })
    }

    fn is_blocked(&self, candidate: Option<&str>, now: Instant) -> bool {
        let failure = self
            .failures
            .iter()
            .find(|it| it.id.as_deref() == candidate);
        failure.is_some_and(|it| now < it.retry_at)
    }

    fn is_gone(&self, running: &Running) -> bool {
        let listed =
            |devices: &Vec<DeviceInfo>| devices.iter().any(|it| it.id == running.device.id);
        self.devices
            .as_ref()
            .is_some_and(|devices| !listed(devices))
    }

    /// Whether Ahoy would rather use this device than the one that is used.
    fn is_wanted(&self, id: &str) -> bool {
        match &self.choice {
            Some(Choice::Device(chosen)) => is_same(chosen, id),
            Some(Choice::Default) => true,
            None => false,
        }
    }

    fn fail(&mut self, id: Option<String>, now: Instant) {
        let at = self.failures.iter().position(|it| it.id == id);
        let tries = at.map_or(0, |at| self.failures.swap_remove(at).tries);
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(tries.min(10));
        self.failures.push(Failure {
            id,
            tries: tries + 1,
            retry_at: now + pause.min(LONGEST_PAUSE),
        });
    }

    /// Reports trouble once, and once more if another remedy is called for.
    fn tell(&mut self) {
        let Some((error, _)) = &self.trouble else {
            return;
        };
        let remedy = matches!(error.problem, DeviceProblem::Busy | DeviceProblem::Denied);
        if self.told.is_none() || remedy && self.told != Some(error.problem) {
            self.told = Some(error.problem);
            self.events.push_back(MediaEvent::Failed {
                kind: self.kind,
                error: error.clone(),
            });
        }
    }

    fn nothing_left(&self, was_there: bool) -> DeviceError {
        let name = match self.kind {
            DeviceKind::Camera => "camera",
            DeviceKind::Microphone => "microphone",
            DeviceKind::Speaker => "speaker",
        };
        if was_there {
            DeviceError::new(DeviceProblem::Lost, format!("the {name} was unplugged"))
        } else {
            DeviceError::new(DeviceProblem::NotFound, format!("there is no {name}"))
        }
    }

    /// A device by its id, with its name if that is known.
    fn known(&self, id: &str) -> Known {
        let devices = self.devices.as_deref().unwrap_or_default();
        let listed = devices.iter().find(|it| is_same(id, &it.id));
        Known {
            id: id.to_owned(),
            label: listed.map(|it| it.label.clone()).unwrap_or_default(),
        }
    }
}

/// Whether two ids name the same thing of plastic. Those of a Bluetooth headset end in its
/// profile, which changes when its microphone is used.
fn is_same(one: &str, other: &str) -> bool {
    one == other || bluetooth(one).is_some_and(|address| bluetooth(other) == Some(address))
}

/// Direction and address: `bluez_output.00_11_22_33_44_55` of `….a2dp-sink` or `….1`
/// (PipeWire), `bluez_sink.00_11_22_33_44_55` of `….a2dp_sink` (PulseAudio).
fn bluetooth(id: &str) -> Option<&str> {
    let start = id.find("bluez_")?;
    let name = &id[start..];
    let end = name
        .match_indices('.')
        .nth(1)
        .map_or(name.len(), |(at, _)| at);
    Some(&name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(ids: &[&str]) -> Vec<DeviceInfo> {
        // The first one is the default.
        let entry = |(at, id): (usize, &&str)| DeviceInfo {
            id: (*id).to_owned(),
            label: id.to_uppercase(),
            is_default: at == 0,
        };
        ids.iter().enumerate().map(entry).collect()
    }

    fn known(id: &str) -> Known {
        Known {
            id: id.to_owned(),
            label: id.to_uppercase(),
        }
    }

    fn error(problem: DeviceProblem) -> DeviceError {
        DeviceError::new(problem, "it said")
    }

    /// In words: what is opened and what is told.
    struct Subject {
        healing: Healing,
        now: Instant,
    }

    impl Subject {
        fn new(choice: Choice, ids: &[&str]) -> Self {
            let (mut healing, now) = (Healing::new(DeviceKind::Microphone), Instant::now());
            healing.listed(&list(ids), now);
            healing.choose(Some(choice));
            Self { healing, now }
        }

        fn pinned(id: &str, ids: &[&str]) -> Self {
            Self::new(Choice::Device(id.to_owned()), ids)
        }

        fn list(&mut self, ids: &[&str]) {
            self.healing.listed(&list(ids), self.now);
        }

        fn wait(&mut self, time: Duration) {
            self.now += time;
        }

        /// Opens whatever is asked for, successfully.
        fn open(&mut self) -> Vec<String> {
            let mut told = Vec::new();
            while let Some(step) = self.healing.poll(self.now) {
                match step {
                    Step::Open(id) => {
                        let id = id.unwrap_or_else(|| "system".to_owned());
                        self.healing.opened(known(&id), self.now);
                    }
                    Step::Close => told.push("close".to_owned()),
                }
            }
            told.extend(self.told());
            told
        }

        fn told(&mut self) -> Vec<String> {
            let mut told = Vec::new();
            while let Some(event) = self.healing.take_event() {
                told.push(match event {
                    MediaEvent::Started { label, .. } => format!("started {label}"),
                    MediaEvent::Failed { error, .. } => format!("failed {:?}", error.problem),
                    MediaEvent::Replaced {
                        lost_label,
                        label,
                        problem,
                        ..
                    } => {
                        format!("{label} for {lost_label}: {problem:?}")
                    }
                    MediaEvent::Returned { label, .. } => format!("returned {label}"),
                    MediaEvent::DevicesChanged { devices, .. } => {
                        format!("{} there", devices.len())
                    }
                    MediaEvent::Stopped { .. } => "stopped".to_owned(),
                });
            }
            told
        }
    }

    #[test]
    fn the_default_is_followed() {
        let mut it = Subject::new(Choice::Default, &["a", "b"]);
        assert_eq!(it.open(), ["started A"]);
        assert_eq!(it.open(), [""; 0]);
        it.list(&["b", "a"]);
        assert_eq!(it.open(), ["2 there", "started B"]);
        it.list(&["a"]);
        assert_eq!(it.open(), ["1 there", "started A", "A for B: Lost"]);
        it.list(&["b", "a"]);
        assert_eq!(it.open(), ["2 there", "started B", "returned B"]);
        it.healing.choose(None);
        assert_eq!(it.open(), ["close"]);
    }

    #[test]
    fn a_chosen_device_is_kept_left_and_returned_to() {
        let mut it = Subject::pinned("b", &["a", "b"]);
        assert_eq!(it.open(), ["started B"]);
        it.list(&["c", "a", "b"]);
        assert_eq!(it.open(), ["3 there"], "another default is nothing to it");
        it.list(&["c", "a"]);
        assert_eq!(it.open(), ["2 there", "started C", "C for B: Lost"]);
        it.list(&["a"]);
        assert_eq!(it.open(), ["1 there", "started A", "A for C: Lost"]);
        it.list(&["a", "b"]);
        assert_eq!(it.open(), ["2 there", "started B", "returned B"]);
    }

    #[test]
    fn a_chosen_device_that_is_not_there_yet_is_waited_for() {
        let mut it = Subject::pinned("b", &["a"]);
        assert_eq!(it.open(), ["started A", "A for : NotFound"]);
        it.list(&["a", "b"]);
        assert_eq!(it.open(), ["2 there", "started B", "returned B"]);
    }

    #[test]
    fn the_last_one_unplugged_is_told_and_the_next_one_is_used() {
        let mut it = Subject::new(Choice::Default, &["a"]);
        it.open();
        it.list(&[]);
        assert_eq!(it.open(), ["close", "0 there", "failed Lost"]);
        it.wait(Duration::from_secs(60));
        assert_eq!(it.open(), [""; 0], "told once");
        it.list(&["b"]);
        assert_eq!(it.open(), ["1 there", "started B", "B for A: Lost"]);
        let mut it = Subject::new(Choice::Default, &[]);
        assert_eq!(it.open(), ["failed NotFound"]);
    }

    #[test]
    fn a_busy_device_is_told_and_tried_again_ever_more_rarely() {
        let mut it = Subject::new(Choice::Default, &["a"]);
        let mut tried = Vec::new();
        let start = it.now;
        for _ in 0..1_200 {
            if it.healing.poll(it.now).is_some() {
                tried.push((it.now - start).as_millis());
                it.healing.open_failed(error(DeviceProblem::Busy), it.now);
            }
            it.wait(Duration::from_millis(100));
        }
        assert_eq!(
            tried,
            [0, 1_000, 3_000, 7_000, 15_000, 31_000, 63_000, 95_000]
        );
        assert_eq!(it.told(), ["failed Busy"]);
        it.list(&["a", "b"]);
        assert_eq!(
            it.open(),
            ["2 there", "started A"],
            "at once when something changes"
        );
    }

    #[test]
    fn a_chosen_device_that_is_busy_is_replaced_until_it_is_free() {
        let mut it = Subject::pinned("b", &["a", "b"]);
        assert_eq!(
            it.healing.poll(it.now),
            Some(Step::Open(Some("b".to_owned())))
        );
        it.healing.open_failed(error(DeviceProblem::Busy), it.now);
        assert_eq!(it.open(), ["started A", "A for B: Busy"]);
        it.wait(Duration::from_secs(1));
        assert_eq!(
            it.healing.poll(it.now),
            Some(Step::Open(Some("b".to_owned())))
        );
        it.healing.open_failed(error(DeviceProblem::Busy), it.now);
        assert_eq!(it.open(), [""; 0], "nothing new");
        it.wait(Duration::from_secs(2));
        assert_eq!(it.open(), ["started B", "returned B"]);
    }

    #[test]
    fn a_stream_that_breaks_off_is_opened_again() {
        let mut it = Subject::new(Choice::Default, &["a"]);
        it.open();
        it.wait(PROVEN_AFTER);
        it.healing.lost(error(DeviceProblem::Lost), it.now);
        assert_eq!(it.open(), ["started A"], "as after a change of profile");
        // It dies at once, and again.
        it.healing.lost(error(DeviceProblem::Lost), it.now);
        assert_eq!(it.open(), ["failed Lost"]);
        it.wait(Duration::from_secs(1));
        assert_eq!(it.open(), ["started A"]);
    }

    #[test]
    fn a_sound_system_that_hangs_is_told() {
        let mut it = Subject::new(Choice::Default, &["a"]);
        it.open();
        it.wait(PROVEN_AFTER);
        it.healing.lost(error(DeviceProblem::Lost), it.now);
        assert!(it.healing.poll(it.now).is_some());
        assert!(it.told().is_empty());
        it.wait(REPORT_AFTER);
        assert_eq!(it.healing.poll(it.now), None, "still being opened");
        assert_eq!(it.told(), ["failed Lost"]);
        it.healing.open_failed(error(DeviceProblem::Failed), it.now);
        assert_eq!(it.open(), [""; 0], "told once");
        it.wait(FIRST_PAUSE);
        assert_eq!(it.open(), ["started A"]);
    }

    #[test]
    fn a_headset_is_the_same_in_another_profile() {
        let phone = "pulseaudio:bluez_sink.00_11_22_33_44_55.handsfree_head_unit";
        let music = "pulseaudio:bluez_sink.00_11_22_33_44_55.a2dp_sink";
        let other = "pulseaudio:bluez_sink.66_11_22_33_44_55.a2dp_sink";
        assert!(is_same(phone, music) && !is_same(music, other));
        assert!(is_same(
            "pulseaudio:bluez_output.00_11.1",
            "pulseaudio:bluez_output.00_11.2"
        ));
        assert!(!is_same(
            "pulseaudio:bluez_output.00_11.1",
            "pulseaudio:bluez_input.00_11.0"
        ));
        let mut it = Subject::pinned(music, &["a", music]);
        it.open();
        it.list(&["a", phone]);
        let told = it.open();
        assert_eq!(told.len(), 2, "the list, and started: {told:?}");
        assert!(told[1].starts_with("started") && told[1].contains("HANDSFREE"));
    }

    #[test]
    fn without_a_list_the_system_is_asked_for_its_default() {
        let mut healing = Healing::new(DeviceKind::Speaker);
        healing.choose(Some(Choice::Device("x".to_owned())));
        let now = Instant::now();
        assert_eq!(healing.poll(now), Some(Step::Open(Some("x".to_owned()))));
        healing.open_failed(error(DeviceProblem::NotFound), now);
        assert_eq!(healing.poll(now), Some(Step::Open(None)));
        healing.opened(known("a"), now);
        assert_eq!(healing.poll(now), None);
    }

    #[test]
    fn without_a_default_the_first_one_will_do() {
        let mut devices = list(&["a", "b"]);
        devices[0].is_default = false;
        let (mut healing, now) = (Healing::new(DeviceKind::Microphone), Instant::now());
        healing.listed(&devices, now);
        healing.choose(Some(Choice::Default));
        assert_eq!(healing.poll(now), Some(Step::Open(Some("a".to_owned()))));
    }

    #[test]
    fn another_use_opens_the_same_device_again() {
        let mut it = Subject::new(Choice::Default, &["a"]);
        it.open();
        it.healing.reopen();
        assert_eq!(it.open(), ["started A"]);
    }

    proptest! {
        /// Whatever happens: steps come to an end, and in the end the best device runs.
        #[test]
        fn always_settles_on_the_best(happenings in proptest::collection::vec(0_u8..9, 0..60)) {
            let ids = [&["a", "b"][..], &["b", "a"], &["a"], &["b"], &[]];
            let mut it = Subject::pinned("b", &["a", "b"]);
            for happening in happenings {
                match happening {
                    0..5 => it.list(ids[happening as usize]),
                    5 => it.healing.lost(error(DeviceProblem::Lost), it.now),
                    6 => { it.healing.poll(it.now); }
                    7 => it.healing.open_failed(error(DeviceProblem::Busy), it.now),
                    _ => it.wait(Duration::from_millis(700)),
                }
                it.told();
            }
            it.healing.open_failed(error(DeviceProblem::Failed), it.now);
            it.list(&["b", "a"]);
            it.list(&["a", "b"]);
            it.wait(Duration::from_secs(60));
            it.open();
            prop_assert_eq!(it.healing.running.map(|it| it.device.id), Some("b".to_owned()));
        }
    }
}
