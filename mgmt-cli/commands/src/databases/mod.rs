//! Database servers, backup, and tables of other systems.

pub mod backup;
pub mod import;
pub mod mysqlsetup;
pub mod pgsqlsetup;
