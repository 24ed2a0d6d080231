//! Objects: what `lsdef` and `chdef` show, computed from rows and written back to rows.
//!
//! [`crate::object_types`] says where attributes live. The same attribute may be on several lines of that
//! schema; reading takes the last line that applies and has a value, writing goes to every line that applies.
//!
//! * `node`: resolved attributes; of a table with several rows the first counts.
//! * `group`: the same tables, the group's own row, raw.
//! * `site`: one object [`SITE_OBJECT`] whose attributes are the rows of the table.
//! * `monitoring`: its attributes are rows of `monsetting`.
//! * everything else: the enabled rows of its table; of several the last.

mod read;
mod write;

pub use crate::nics::{NIC_COLUMNS, nic_column_for, nic_entries, nic_merge};
pub use read::{Object, ObjectValue, Selection};
pub use write::{Assign, ObjectError, ObjectPlan};

pub use crate::object_types::{LookupValue, ObjectAttr, ObjectType, SITE_OBJECT, object_type, object_types};

use crate::object_types::has_word;
