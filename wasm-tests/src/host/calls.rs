//! The host calls of ABI 0.2.1 that skycap imports; a module that imports another does not link.

use wasmi::{Caller, Error, Extern, Linker};

use super::state::{LocalResponse, Log, State};

type Host<'a> = Caller<'a, State>;

/// Statuses of the ABI (`proxy_status_t`).
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const INVALID_MEMORY: u32 = 6;

/// Defines every host call in `linker`.
pub(crate) fn define(linker: &mut Linker<State>) -> Result<(), Error> {
    define_headers(linker)?;
    define_metrics(linker)?;
    define_shared_data(linker)?;
    define_others(linker)
}

fn define_headers(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        ENV,
        "proxy_get_header_map_value",
        |mut host: Host<'_>, map: u32, key: u32, size: u32, data: u32, returned: u32| {
            call(&mut host, "proxy_get_header_map_value", |host| {
                let name = read_name(host, key, size)?;
                let headers = host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?;
                // The first line only (ctx: getHeaderMapValue).
                let found = headers.iter().find(|(other, _)| *other == name);
                let value = found.map(|(_, value)| value.clone()).ok_or(NOT_FOUND)?;
                give(host, &value, data, returned)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_header_map_pairs",
        |mut host: Host<'_>, map: u32, data: u32, returned: u32| {
            call(&mut host, "proxy_get_header_map_pairs", |host| {
                let headers = host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?;
                let bytes = serialize(headers);
                give(host, &bytes, data, returned)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_add_header_map_value",
        |mut host: Host<'_>, map: u32, key: u32, size: u32, value: u32, value_size: u32| {
            call(&mut host, "proxy_add_header_map_value", |host| {
                let (name, value) = (read_name(host, key, size)?, read(host, value, value_size)?);
                host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?.push((name, value));
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_replace_header_map_value",
        |mut host: Host<'_>, map: u32, key: u32, size: u32, value: u32, value_size: u32| {
            call(&mut host, "proxy_replace_header_map_value", |host| {
                let (name, value) = (read_name(host, key, size)?, read(host, value, value_size)?);
                let headers = host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?;
                // One line is left, in the place of the first (envoy: HeaderMapImpl::setCopy).
                match headers.iter().position(|(other, _)| *other == name) {
                    Some(place) => {
                        headers[place].1 = value;
                        let mut index = 0;
                        headers.retain(|(other, _)| {
                            index += 1;
                            *other != name || index == place + 1
                        });
                    }
                    None => headers.push((name, value)),
                }
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_remove_header_map_value",
        |mut host: Host<'_>, map: u32, key: u32, size: u32| {
            call(&mut host, "proxy_remove_header_map_value", |host| {
                let name = read_name(host, key, size)?;
                let headers = host.data_mut().headers(map).ok_or(BAD_ARGUMENT)?;
                headers.retain(|(other, _)| *other != name);
                Ok(())
            })
        },
    )?;
    Ok(())
}

fn define_metrics(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        ENV,
        "proxy_define_metric",
        |mut host: Host<'_>, _kind: u32, name: u32, size: u32, id: u32| {
            call(&mut host, "proxy_define_metric", |host| {
                let name = read_name(host, name, size)?;
                let metrics = &mut host.data_mut().metrics;
                let place = metrics.iter().position(|(other, _)| *other == name);
                let place = place.unwrap_or_else(|| {
                    metrics.push((name, 0));
                    metrics.len() - 1
                });
                write(host, id, &u32::try_from(place).map_err(|_| BAD_ARGUMENT)?.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_increment_metric",
        |mut host: Host<'_>, id: u32, offset: u64| {
            call(&mut host, "proxy_increment_metric", |host| {
                let metric = host.data_mut().metrics.get_mut(id as usize).ok_or(NOT_FOUND)?;
                metric.1 = metric.1.wrapping_add(offset);
                Ok(())
            })
        },
    )?;
    linker.func_wrap(ENV, "proxy_record_metric", |mut host: Host<'_>, id: u32, value: u64| {
        call(&mut host, "proxy_record_metric", |host| {
            host.data_mut().metrics.get_mut(id as usize).ok_or(NOT_FOUND)?.1 = value;
            Ok(())
        })
    })?;
    Ok(())
}

fn define_shared_data(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        ENV,
        "proxy_get_shared_data",
        |mut host: Host<'_>, key: u32, size: u32, data: u32, returned: u32, cas: u32| {
            call(&mut host, "proxy_get_shared_data", |host| {
                let key = read(host, key, size)?;
                let shared = std::sync::Arc::clone(&host.data().shared);
                let value = shared.lock().map_err(|_| NOT_FOUND)?.get(&key).cloned();
                give(host, &value.ok_or(NOT_FOUND)?, data, returned)?;
                write(host, cas, &1_u32.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_shared_data",
        |mut host: Host<'_>, key: u32, size: u32, value: u32, value_size: u32, _cas: u32| {
            call(&mut host, "proxy_set_shared_data", |host| {
                let (key, value) = (read(host, key, size)?, read(host, value, value_size)?);
                host.data().shared.lock().map_err(|_| NOT_FOUND)?.insert(key, value);
                Ok(())
            })
        },
    )?;
    Ok(())
}

fn define_others(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        ENV,
        "proxy_log",
        |mut host: Host<'_>, level: u32, line: u32, size: u32| {
            call(&mut host, "proxy_log", |host| {
                let line = String::from_utf8_lossy(&read(host, line, size)?).into_owned();
                host.data_mut().log.push(Log { level, line });
                Ok(())
            })
        },
    )?;
    linker.func_wrap(ENV, "proxy_get_log_level", |mut host: Host<'_>, level: u32| {
        call(&mut host, "proxy_get_log_level", |host| write(host, level, &2_u32.to_le_bytes()))
    })?;
    linker.func_wrap(
        ENV,
        "proxy_get_current_time_nanoseconds",
        |mut host: Host<'_>, time: u32| {
            call(&mut host, "proxy_get_current_time_nanoseconds", |host| {
                write(host, time, &0_u64.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_tick_period_milliseconds",
        |mut host: Host<'_>, _period: u32| {
            call(&mut host, "proxy_set_tick_period_milliseconds", |_| Ok(()))
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_property",
        |mut host: Host<'_>, path: u32, size: u32, data: u32, returned: u32| {
            call(&mut host, "proxy_get_property", |host| {
                let path = read(host, path, size)?;
                let value = host.data().property(&path).ok_or(NOT_FOUND)?;
                give(host, &value, data, returned)
            })
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_buffer_bytes",
        |mut host: Host<'_>, buffer: u32, start: u32, size: u32, data: u32, returned: u32| {
            call(&mut host, "proxy_get_buffer_bytes", |host| {
                if buffer != PLUGIN_CONFIGURATION {
                    return Err(NOT_FOUND);
                }
                let bytes = host.data().plugin_configuration.iter().copied();
                let bytes: Vec<u8> = bytes.skip(start as usize).take(size as usize).collect();
                give(host, &bytes, data, returned)
            })
        },
    )?;
    linker.func_wrap(ENV, "proxy_send_local_response", send_local_response)?;
    Ok(())
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

/// Counts a call, and answers it: with the status that a test wants, else as `work` says.
fn call(
    host: &mut Host<'_>,
    name: &'static str,
    work: impl FnOnce(&mut Host<'_>) -> Result<(), u32>,
) -> u32 {
    *host.data_mut().calls.entry(name).or_default() += 1;
    match host.data().fault {
        Some((faulty, status)) if faulty == name && status != OK => status,
        _ => work(host).err().unwrap_or(OK),
    }
}

fn read(host: &Host<'_>, at: u32, size: u32) -> Result<Vec<u8>, u32> {
    let Some(Extern::Memory(memory)) = host.get_export("memory") else {
        return Err(INVALID_MEMORY);
    };
    let (start, size) = (at as usize, size as usize);
    let bytes = memory.data(host).get(start..start + size);
    bytes.map(<[u8]>::to_vec).ok_or(INVALID_MEMORY)
}

/// A name, in lower case as Envoy keeps them (envoy: `Http::LowerCaseString`).
fn read_name(host: &Host<'_>, at: u32, size: u32) -> Result<String, u32> {
    Ok(String::from_utf8_lossy(&read(host, at, size)?).to_lowercase())
}

fn write(host: &mut Host<'_>, at: u32, bytes: &[u8]) -> Result<(), u32> {
    let Some(Extern::Memory(memory)) = host.get_export("memory") else {
        return Err(INVALID_MEMORY);
    };
    memory.write(host, at as usize, bytes).map_err(|_| INVALID_MEMORY)
}

/// Gives bytes to the module, in memory that it allocates: an entry into the VM of its own
/// (CH: src/exports.cc `copyToPointerSize`). Nothing is allocated for no bytes.
fn give(host: &mut Host<'_>, bytes: &[u8], data: u32, returned: u32) -> Result<(), u32> {
    let size = u32::try_from(bytes.len()).map_err(|_| INVALID_MEMORY)?;
    let mut at = 0;
    if size > 0 {
        let Some(Extern::Func(allocate)) = host.get_export("proxy_on_memory_allocate") else {
            return Err(INVALID_MEMORY);
        };
        host.data_mut().entries += 1;
        let allocate = allocate.typed::<u32, u32>(&*host).map_err(|_| INVALID_MEMORY)?;
        at = allocate.call(&mut *host, size).map_err(|_| INVALID_MEMORY)?;
        write(host, at, bytes)?;
    }
    write(host, data, &at.to_le_bytes())?;
    write(host, returned, &size.to_le_bytes())
}

/// A map as the ABI has it: how many, the lengths of each, then the bytes, each closed by a NUL.
fn serialize(headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend([number(name.len()), number(value.len())].as_flattened());
    }
    for (name, value) in headers {
        bytes.extend([name.as_bytes(), b"\0", value, b"\0"].concat());
    }
    bytes
}

fn deserialize(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let number =
        |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?) as usize);
    let count = number(0)?;
    let mut at = 4 + count * 8;
    let mut text = |length: usize| {
        let text = bytes.get(at..at + length)?.to_vec();
        at += length + 1;
        Some(text)
    };
    (0..count)
        .map(|index| {
            let name = text(number(4 + index * 8)?)?;
            Some((String::from_utf8(name).ok()?, text(number(8 + index * 8)?)?))
        })
        .collect()
}

const ENV: &str = "env";
const PLUGIN_CONFIGURATION: u32 = 7;
