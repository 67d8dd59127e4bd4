//! What the system's errors mean for people.

use ahoy_media::device::DeviceProblem;

/// The number in "Device or resource busy (os error 16)": nokhwa passes errors on as text.
pub(super) fn os_error(words: &str) -> Option<i32> {
    let (_, after) = words.rsplit_once("(os error ")?;
    after.split_once(')')?.0.parse().ok()
}

/// What a system error means, where `absent` is what it means that the device is not there.
pub(super) fn problem_of(code: i32, absent: DeviceProblem) -> DeviceProblem {
    const EPERM: i32 = 1;
    const ENOENT: i32 = 2;
    const EIO: i32 = 5;
    const ENXIO: i32 = 6;
    const EACCES: i32 = 13;
    const EBUSY: i32 = 16;
    const ENODEV: i32 = 19;
    const EINVAL: i32 = 22;
    match code {
        EPERM | EACCES => DeviceProblem::Denied,
        EBUSY => DeviceProblem::Busy,
        ENOENT | ENXIO | ENODEV => absent,
        EIO => DeviceProblem::Lost,
        EINVAL => DeviceProblem::Unsupported,
        _ => DeviceProblem::Failed,
    }
}
