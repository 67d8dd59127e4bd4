//! Whether a graphics processor draws the window. Without one WebKit's accelerated compositing
//! runs on the processor and costs nearly three times as much as its plain way of drawing.

/// Nothing but the processor draws.
#[cfg(target_os = "linux")]
pub(crate) fn is_software() -> bool {
    let forced = std::env::var_os("LIBGL_ALWAYS_SOFTWARE").is_some_and(|value| value != "0");
    forced || !linux::has_graphics_processor(std::path::Path::new("/"))
}

/// Other systems draw with a graphics processor, or hide that they have none.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_software() -> bool {
    false
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, OpenOptions};
    use std::path::Path;

    /// Kernel drivers with a render node, but without a processor behind it.
    const NOT_REAL: [&str; 2] = ["vgem", "vkms"];

    /// Whether there is a render node that this process may use and whose driver draws. `root`
    /// is `/`, except in tests.
    pub(super) fn has_graphics_processor(root: &Path) -> bool {
        let Ok(nodes) = fs::read_dir(root.join("dev/dri")) else {
            return false;
        };
        nodes.flatten().any(|node| {
            let name = node.file_name();
            name.to_string_lossy().starts_with("renderD")
                && OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(node.path())
                    .is_ok()
                && draws(&root.join("sys/class/drm").join(&name))
        })
    }

    fn draws(class: &Path) -> bool {
        let driver = fs::read_link(class.join("device/driver"));
        let name = driver
            .ok()
            .and_then(|path| Some(path.file_name()?.to_owned()));
        name.is_none_or(|name| NOT_REAL.iter().all(|not_real| name != *not_real))
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::os::unix::fs::symlink;

        fn computer(nodes: &[(&str, &str)]) -> tempfile::TempDir {
            let root = tempfile::tempdir().expect("temporary folder");
            fs::create_dir_all(root.path().join("dev/dri")).expect("folder");
            for (node, driver) in nodes {
                fs::write(root.path().join("dev/dri").join(node), "").expect("node");
                let device = root.path().join("sys/class/drm").join(node).join("device");
                fs::create_dir_all(&device).expect("folder");
                symlink(
                    Path::new("/sys/bus/drivers").join(driver),
                    device.join("driver"),
                )
                .expect("link");
            }
            root
        }

        #[test]
        fn a_render_node_with_a_real_driver_counts() {
            assert!(has_graphics_processor(
                computer(&[("renderD128", "i915")]).path()
            ));
            assert!(!has_graphics_processor(
                computer(&[("renderD128", "vgem")]).path()
            ));
            assert!(!has_graphics_processor(
                computer(&[("card0", "simple-framebuffer")]).path()
            ));
            let both = computer(&[("renderD128", "vgem"), ("renderD129", "amdgpu")]);
            assert!(has_graphics_processor(both.path()));
        }

        #[test]
        fn no_folder_no_processor() {
            let root = tempfile::tempdir().expect("temporary folder");
            assert!(!has_graphics_processor(root.path()));
        }
    }
}
