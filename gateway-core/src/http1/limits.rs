//! How much of a message may be anything but body.

/// Bounds on the parts of a message that are held in memory while they are parsed.
///
/// All sizes are bytes on the wire, line ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Start line, field lines and the empty line together. Exceeding it is 431. Default 64 KiB.
    pub max_head_bytes: usize,
    /// The request target. Exceeding it is 414. Default 16 KiB; targets beyond 65,534 bytes are
    /// refused whatever is set here.
    pub max_uri_bytes: usize,
    /// Field lines in a head or a trailer section. Exceeding it is 431. Default 128.
    pub max_headers: usize,
    /// The trailer section after a chunked body. Exceeding it is 431. Default 16 KiB.
    pub max_trailer_bytes: usize,
    /// Chunk extensions of one message together, their `;` included. Default 4 KiB.
    pub max_chunk_extension_bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            max_head_bytes: 64 << 10,
            max_uri_bytes: 16 << 10,
            max_headers: 128,
            max_trailer_bytes: 16 << 10,
            max_chunk_extension_bytes: 4 << 10,
        }
    }
}
