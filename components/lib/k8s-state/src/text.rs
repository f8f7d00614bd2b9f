use std::fmt;
use std::sync::Arc;

/// Text that many objects share.
pub type Text = Arc<str>;

macro_rules! text_id {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Text);

        impl $name {
            /// As its owner writes it.
            pub fn new(text: impl Into<Text>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

text_id!(Uid, "An object's `metadata.uid`: never used again, of whatever kind.");
text_id!(ContainerId, "What the container runtime calls a container, without the runtime's prefix. Never used again.");

impl ContainerId {
    /// From `status.containerStatuses[].containerID`: `containerd://0123…`. `None` before the container has been made.
    pub fn parse(text: &str) -> Option<(Runtime, ContainerId)> {
        let (runtime, id) = text.split_once("://").unwrap_or(("", text));
        let runtime = match runtime {
            "docker" => Runtime::Docker,
            "cri-o" => Runtime::CriO,
            "containerd" => Runtime::Containerd,
            _ => Runtime::Unknown,
        };
        (!id.is_empty()).then(|| (runtime, ContainerId::new(id)))
    }
}

/// Who runs a container. Reference: `ContainerType` of `metadatapb/metadata.proto`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Another, or not said.
    #[default]
    Unknown,
    /// dockershim or cri-dockerd.
    Docker,
    /// CRI-O.
    CriO,
    /// containerd.
    Containerd,
}

/// An object's `metadata.resourceVersion`. Of two versions of one object the larger is the newer; 0 where it is not known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceVersion(pub u64);

impl ResourceVersion {
    /// From its text. One that is no number is not known: such a change is always taken for the newer.
    pub fn parse(text: &str) -> ResourceVersion {
        ResourceVersion(text.parse().unwrap_or(0))
    }

    /// Whether a change with this version comes after `known`.
    pub(crate) fn follows(self, known: ResourceVersion) -> bool {
        self.0 == 0 || self > known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_id_loses_its_runtime() {
        assert_eq!(ContainerId::parse("containerd://ab"), Some((Runtime::Containerd, ContainerId::new("ab"))));
        assert_eq!(ContainerId::parse("cri-o://ab"), Some((Runtime::CriO, ContainerId::new("ab"))));
        assert_eq!(ContainerId::parse("ab"), Some((Runtime::Unknown, ContainerId::new("ab"))));
        assert_eq!((ContainerId::parse(""), ContainerId::parse("docker://")), (None, None));
    }

    #[test]
    fn a_version_that_is_not_known_follows_any() {
        assert!(ResourceVersion(8).follows(ResourceVersion(7)));
        assert!(!ResourceVersion(7).follows(ResourceVersion(7)));
        assert!(ResourceVersion::parse("opaque").follows(ResourceVersion(7)));
    }
}
