//! Host calls for the log, the clock, and responses by the filter itself.

use wasmi::{Error, Linker};

use super::{ENV, Host, WASI, call};
use crate::host::{
    memory::{BAD_ARGUMENT, deserialize, read, write},
    vm_state::{LocalResponse, Log, VmState},
};

pub(super) fn define(linker: &mut Linker<VmState>) -> Result<(), Error> {
    linker.func_wrap(ENV, "proxy_log", log)?;
    linker.func_wrap(ENV, "proxy_get_log_level", get_log_level)?;
    linker.func_wrap(ENV, "proxy_get_current_time_nanoseconds", get_time)?;
    linker.func_wrap(ENV, "proxy_set_tick_period_milliseconds", set_tick_period)?;
    linker.func_wrap(ENV, "proxy_send_local_response", send_local_response)?;
    linker.func_wrap(WASI, "random_get", random_get)?;
    Ok(())
}

fn log(mut host: Host<'_>, level: u32, line: u32, size: u32) -> u32 {
    call(&mut host, "proxy_log", |host| {
        let line = String::from_utf8_lossy(&read(host, line, size)?).into_owned();
        host.data_mut().log.push(Log { level, line });
        Ok(())
    })
}

fn get_log_level(mut host: Host<'_>, level: u32) -> u32 {
    call(&mut host, "proxy_get_log_level", |host| write(host, level, &2_u32.to_le_bytes()))
}

fn get_time(mut host: Host<'_>, time: u32) -> u32 {
    call(&mut host, "proxy_get_current_time_nanoseconds", |host| {
        write(host, time, &0_u64.to_le_bytes())
    })
}

/// The same bytes for every VM, so that a test is repeatable.
fn random_get(mut host: Host<'_>, data: u32, size: u32) -> u32 {
    call(&mut host, "random_get", |host| write(host, data, &vec![7; size as usize]))
}

fn set_tick_period(mut host: Host<'_>, _period: u32) -> u32 {
    call(&mut host, "proxy_set_tick_period_milliseconds", |_| Ok(()))
}

#[expect(clippy::too_many_arguments, reason = "the ABI has that many")]
fn send_local_response(
    mut host: Host<'_>,
    status: u32,
    _details: u32,
    _details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    _grpc_status: u32,
) -> u32 {
    call(&mut host, "proxy_send_local_response", |host| {
        let body = read(host, body, body_size)?;
        let headers = deserialize(&read(host, headers, headers_size)?).ok_or(BAD_ARGUMENT)?;
        host.data_mut().response = Some(LocalResponse { status, headers, body });
        Ok(())
    })
}
