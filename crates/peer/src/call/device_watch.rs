//! Which of our devices run, and what is told when one does not.

use ahoy_call::view::{DeviceView, LocalView};
use ahoy_media::device::{DeviceKind, DeviceProblem};

use crate::cli::CommonOptions;
use crate::exit::Failure;

/// Follows the three devices.
pub(super) struct DeviceWatch([Watched; 3]);

struct Watched {
    kind: DeviceKind,
    /// It was asked for by name.
    required: bool,
    has_run: bool,
    told: Option<(DeviceProblem, String)>,
}

impl DeviceWatch {
    pub(super) fn new(options: &CommonOptions) -> Self {
        let kinds = [
            DeviceKind::Camera,
            DeviceKind::Microphone,
            DeviceKind::Speaker,
        ];
        Self(kinds.map(|kind| Watched {
            kind,
            required: options.requires(kind),
            has_run: false,
            told: None,
        }))
    }

    /// Takes in the state of the devices. Returns sentences about those that have just failed and
    /// that the call goes on without.
    ///
    /// # Errors
    /// One that was asked for by name cannot be used at all.
    pub(super) fn look(&mut self, view: &LocalView) -> Result<Vec<String>, Failure> {
        let mut sentences = Vec::new();
        for watched in &mut self.0 {
            let device = match watched.kind {
                DeviceKind::Camera => &view.camera,
                DeviceKind::Microphone => &view.microphone,
                DeviceKind::Speaker => &view.speaker,
            };
            sentences.extend(watched.look(device)?);
        }
        Ok(sentences)
    }

    /// Those that were asked for by name and have not run yet.
    pub(super) fn missing(&self) -> Option<DeviceKind> {
        self.0
            .iter()
            .find(|it| it.required && !it.has_run)
            .map(|it| it.kind)
    }
}

impl Watched {
    fn look(&mut self, device: &DeviceView) -> Result<Option<String>, Failure> {
        self.has_run |= device.label.is_some();
        let problem = device
            .problem
            .map(|problem| (problem, device.problem_detail.clone()));
        if problem == self.told {
            return Ok(None);
        }
        self.told.clone_from(&problem);
        let Some((problem, detail)) = problem else {
            return Ok(None);
        };
        let failure = Failure::of_device(self.kind, problem, &detail);
        if self.required && !self.has_run {
            return Err(failure);
        }
        Ok(Some(format!(
            "{} The call goes on without it.",
            failure.message
        )))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::exit::Exit;

    fn watch(arguments: &str) -> DeviceWatch {
        let cli = Cli::parse_from(std::iter::once("ahoy-peer").chain(arguments.split(' ')));
        let Command::Call(options) = cli.command else {
            panic!("a call");
        };
        DeviceWatch::new(&options.common)
    }

    fn failed(detail: &str) -> DeviceView {
        DeviceView {
            problem: Some(DeviceProblem::NotFound),
            problem_detail: detail.to_owned(),
            ..DeviceView::default()
        }
    }

    fn running() -> DeviceView {
        DeviceView {
            label: Some("Camera".to_owned()),
            ..DeviceView::default()
        }
    }

    fn camera(camera: DeviceView) -> LocalView {
        LocalView {
            camera,
            ..LocalView::default()
        }
    }

    #[test]
    fn without_the_default_camera_the_call_goes_on_and_it_is_told_once() {
        let mut watch = watch("call");
        let told = watch.look(&camera(failed("none"))).expect("goes on");
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("camera"), "{told:?}");
        assert_eq!(watch.look(&camera(failed("none"))), Ok(vec![]));
        assert_eq!(watch.missing(), None);
    }

    #[test]
    fn a_camera_that_was_asked_for_must_start_but_may_be_unplugged() {
        let mut first = watch("call --camera device:/dev/video9");
        assert_eq!(first.missing(), Some(DeviceKind::Camera));
        let failure = first.look(&camera(failed("none"))).expect_err("needed");
        assert_eq!(failure.exit, Exit::Device);

        let mut second = watch("call --camera device:/dev/video0");
        assert_eq!(second.look(&camera(running())), Ok(vec![]));
        assert_eq!(second.missing(), None);
        assert_eq!(
            second
                .look(&camera(failed("unplugged")))
                .map(|told| told.len()),
            Ok(1)
        );
    }
}
