//! Wrong uses of the contracts: what the compiler says about them is part of the interface.
//!
//! The cases stand in `cases/`, with what rustc says beside them. `TRYBUILD=overwrite cargo test -p
//! portcullis-compile-tests` writes it anew; read the difference before committing it.
