//! Host calls that read attributes, the configuration and shared data.

use std::sync::Arc;

use wasmi::{Error, Linker};

use super::{ENV, Host, call};
use crate::host::{
    memory::{NOT_FOUND, give, read, write},
    vm_state::VmState,
};

pub(super) fn define(linker: &mut Linker<VmState>) -> Result<(), Error> {
    linker.func_wrap(ENV, "proxy_get_property", get_property)?;
    linker.func_wrap(ENV, "proxy_set_property", set_property)?;
    linker.func_wrap(ENV, "proxy_get_buffer_bytes", get_buffer_bytes)?;
    linker.func_wrap(ENV, "proxy_get_shared_data", get_shared)?;
    linker.func_wrap(ENV, "proxy_set_shared_data", set_shared)?;
    Ok(())
}

fn get_property(mut host: Host<'_>, path: u32, size: u32, data: u32, returned: u32) -> u32 {
    call(&mut host, "proxy_get_property", |host| {
        let path = read(host, path, size)?;
        let value = host.data().property(&path).ok_or(NOT_FOUND)?;
        give(host, &value, data, returned)
    })
}

fn set_property(mut host: Host<'_>, path: u32, size: u32, value: u32, value_size: u32) -> u32 {
    call(&mut host, "proxy_set_property", |host| {
        let (path, value) = (read(host, path, size)?, read(host, value, value_size)?);
        host.data_mut().stream_properties.insert(path, value);
        Ok(())
    })
}

fn get_buffer_bytes(
    mut host: Host<'_>,
    buffer: u32,
    start: u32,
    size: u32,
    data: u32,
    returned: u32,
) -> u32 {
    call(&mut host, "proxy_get_buffer_bytes", |host| {
        if buffer != PLUGIN_CONFIGURATION {
            return Err(NOT_FOUND);
        }
        let bytes = host.data().plugin_configuration.iter().copied();
        let bytes: Vec<u8> = bytes.skip(start as usize).take(size as usize).collect();
        give(host, &bytes, data, returned)
    })
}

fn get_shared(mut host: Host<'_>, key: u32, size: u32, data: u32, returned: u32, cas: u32) -> u32 {
    call(&mut host, "proxy_get_shared_data", |host| {
        let key = read(host, key, size)?;
        let shared = Arc::clone(&host.data().shared);
        let value = shared.lock().map_err(|_| NOT_FOUND)?.get(&key).cloned();
        give(host, &value.ok_or(NOT_FOUND)?, data, returned)?;
        write(host, cas, &1_u32.to_le_bytes())
    })
}

fn set_shared(
    mut host: Host<'_>,
    key: u32,
    size: u32,
    value: u32,
    value_size: u32,
    _cas: u32,
) -> u32 {
    call(&mut host, "proxy_set_shared_data", |host| {
        let (key, value) = (read(host, key, size)?, read(host, value, value_size)?);
        host.data().shared.lock().map_err(|_| NOT_FOUND)?.insert(key, value);
        Ok(())
    })
}

/// The buffer that holds the configuration, by its number in the ABI.
const PLUGIN_CONFIGURATION: u32 = 7;
