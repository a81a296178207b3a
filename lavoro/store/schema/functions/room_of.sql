-- Returns how many tasks may start for a limit now.
-- A rate is counted by the generic cell rate algorithm (ITU-T I.371). Until `p_paid_until` its starts are paid for, at
-- one in each `p_per / p_rate` seconds. That time may be ahead of the clock by `p_burst` starts.
create or replace function {schema}.room_of(
    p_running integer, p_taken integer, p_rate integer, p_per double precision, p_burst integer,
    p_paid_until timestamptz, p_paused_until timestamptz
) returns integer language sql volatile as $$
    select case when p_paused_until > clock_timestamp() then 0 else greatest(0, least(
        coalesce(p_running - p_taken, 1000000000),
        case when p_rate = 0 then 0 when p_rate > 0 then floor(
            p_burst - greatest(extract(epoch from p_paid_until - clock_timestamp()), 0) * p_rate / p_per + 1e-6
        )::integer else 1000000000 end
    )) end
$$;

revoke all on function {schema}.room_of from public;
