//! The memory that the cgroup of this process may use (Linux, cgroup v2 and v1).

use std::fs;
use std::path::{Path, PathBuf};

/// The cgroup with the smallest limit among those the process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cgroup {
    folder: PathBuf,
    version: Version,
    limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Limits beyond this are those of cgroups without one: v1 writes a huge number.
const NO_LIMIT: u64 = 1 << 60;

impl Version {
    fn limit_file(self) -> &'static str {
        match self {
            Self::One => "memory.limit_in_bytes",
            Self::Two => "memory.max",
        }
    }

    fn usage_file(self) -> &'static str {
        match self {
            Self::One => "memory.usage_in_bytes",
            Self::Two => "memory.current",
        }
    }

    /// Lines of `memory.stat` with what the kernel takes back before it kills: the cache of files.
    fn cache_keys(self) -> [&'static str; 2] {
        match self {
            Self::One => ["total_inactive_file", "total_active_file"],
            Self::Two => ["inactive_file", "active_file"],
        }
    }
}

impl Cgroup {
    /// `None` when there is no limit, or none can be found.
    pub(super) fn of_this_process() -> Option<Self> {
        let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::find(&membership, Path::new("/sys/fs/cgroup"))
    }

    fn find(membership: &str, root: &Path) -> Option<Self> {
        let candidates = membership.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let (version, root) = if controllers.is_empty() {
                (Version::Two, root.to_owned())
            } else if controllers.split(',').any(|name| name == "memory") {
                (Version::One, root.join("memory"))
            } else {
                return None;
            };
            Some((version, root, path.trim_start_matches('/').to_owned()))
        });
        // A limit of an ancestor holds too. In a container the path may be that of the host: what does not exist is
        // passed over, up to the root, which is then the container's own.
        let folders = candidates.flat_map(|(version, root, path)| {
            let paths: Vec<PathBuf> = Path::new(&path)
                .ancestors()
                .map(|path| root.join(path))
                .collect();
            paths.into_iter().map(move |folder| (version, folder))
        });
        folders
            .filter_map(|(version, folder)| {
                let limit = number(&folder.join(version.limit_file()))?;
                (limit < NO_LIMIT).then_some(Self {
                    folder,
                    version,
                    limit,
                })
            })
            .min_by_key(|cgroup| cgroup.limit)
    }

    /// In bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// What of it is in use and cannot be taken back, in bytes: buffers of sockets are in it, too.
    pub(super) fn used(&self) -> Option<u64> {
        let used = number(&self.folder.join(self.version.usage_file()))?;
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let cache: u64 = self
            .version
            .cache_keys()
            .iter()
            .filter_map(|key| {
                let mut lines = stat.lines();
                let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
                value.trim().parse::<u64>().ok()
            })
            .sum();
        Some(used.saturating_sub(cache))
    }
}

/// The number in a file; `None` for `max`.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "pod/memory.max", "1000\n");
        write(root, "pod/memory.current", "900\n");
        write(
            root,
            "pod/memory.stat",
            "anon 100\ninactive_file_other 9\ninactive_file 300\nactive_file 50\n",
        );
        write(root, "pod/app/memory.max", "max\n");
        let cgroup = Cgroup::find("0::/pod/app\n", root).unwrap();
        assert_eq!((cgroup.limit(), cgroup.used()), (1000, Some(550)));
        assert_eq!(Cgroup::find("0::/elsewhere\n", root), None);
        assert_eq!(Cgroup::find("", root), None);
    }

    #[test]
    fn the_first_version_is_known_too() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let membership = "9:name=systemd:/\n4:memory:/host/path\n0::/\n";
        write(
            root,
            "memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        assert_eq!(Cgroup::find(membership, root), None);
        write(root, "memory/memory.limit_in_bytes", "2000\n");
        write(root, "memory/memory.usage_in_bytes", "700\n");
        write(
            root,
            "memory/memory.stat",
            "cache 5\ntotal_active_file 100\n",
        );
        let cgroup = Cgroup::find(membership, root).unwrap();
        assert_eq!((cgroup.limit(), cgroup.used()), (2000, Some(600)));
    }
}
