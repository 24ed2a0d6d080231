//! Database servers.

pub mod mysqlsetup;
pub mod pgsqlsetup;
