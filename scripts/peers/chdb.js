// Events and exact users per day and type by chDB, which is ClickHouse in a
// process.
//
//     node chdb.js THREADS users|kpis GLOB
//
// prints what duckdb.js prints, with the same left out.
const { query, Session } = require('chdb');

const [threads, what, glob] = process.argv.slice(2);

const lines = `
    SELECT toInt64OrZero(substring(meta.created_at, 1, 13)) AS t,
        data.type AS type, data.attributes.user_id AS u
    FROM file('${glob.replaceAll("'", "\\'")}', 'JSONEachRow',
        'data Tuple(type String, attributes Tuple(user_id String)),
         meta Tuple(created_at String)')
    WHERE t > 0 AND type != ''`;
const settings = `
    SETTINGS max_threads = ${Number(threads)},
        max_parsing_threads = ${Number(threads)},
        input_format_json_read_numbers_as_strings = 1,
        input_format_json_ignore_unknown_keys_in_named_tuple = 1,
        input_format_json_defaults_for_missing_elements_in_named_tuple = 1,
        input_format_skip_unknown_fields = 1,
        input_format_allow_errors_ratio = 1`;
const byType = (events) => `
    SELECT toDate(intDiv(t, 86400000)) AS day, type, count(),
        uniqExactIf(u, u != '')
    FROM ${events} GROUP BY day, type ORDER BY day, type ${settings}`;
const byDay = `
    WITH
        users AS (
            SELECT u, arraySort(groupArray(t)) AS times,
                arrayDistinct(arrayMap(x -> intDiv(x, 86400000), times)) AS on
            FROM events WHERE u != '' GROUP BY u),
        facts AS (
            SELECT arrayJoin(arrayConcat(
                arrayMap(d -> (d, 1, toInt64(has(on, d - 1)), 0, 0), on),
                arrayMap(d -> (d + 1, 0, 0, toInt64(not has(on, d + 1)), 0), on),
                arrayMap((x, gap) ->
                    (intDiv(x, 86400000), 0, 0, 0, toInt64(gap)), times,
                    arrayMap(i -> i = 1 OR
                        times[i] - times[i - 1] > 1800000,
                        arrayEnumerate(times))))) AS f
            FROM users)
    SELECT concat('#', toString(toDate(f.1))), sum(f.2), sum(f.3), sum(f.4),
        sum(f.2) - sum(f.3), sum(f.5)
    FROM facts GROUP BY f.1 HAVING sum(f.2) > 0 ORDER BY f.1 ${settings}`;

const print = (csv) =>
    process.stdout.write(csv.replace(/^"(#?\d{4}-\d\d-\d\d)"/gm, '$1'));

if (what === 'kpis') {
    // Both queries need the events; once is enough to read them.
    const session = new Session();
    session.query(`CREATE TABLE events ENGINE = Memory AS ${lines} ${settings}`);
    print(session.query(byType('events'), 'CSV'));
    print(session.query(byDay, 'CSV'));
    session.cleanup();
} else {
    print(query(byType(`(${lines})`), 'CSV'));
}
