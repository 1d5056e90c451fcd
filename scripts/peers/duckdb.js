// Events and exact users per day and type by DuckDB.
//
//     node duckdb.js THREADS users|kpis GLOB
//
// prints day,type,events,users as CSV; with kpis, also the days' users,
// active, churned and reactivated users and sessions, as lines that begin
// with #.  Lines that are no JSON are skipped without a count, and so are those
// without type or time; a time is taken to have 13 digits.
const { DuckDBInstance } = require('@duckdb/node-api');

const [threads, what, glob] = process.argv.slice(2);

// Only what is asked for is taken from each line, as text: a time may be a
// number, a string or a number with a fraction.
const lines = `
    FROM read_json('${glob.replaceAll("'", "''")}',
        format = 'newline_delimited', ignore_errors = true,
        columns = {
            data: 'STRUCT("type" VARCHAR, attributes STRUCT(user_id VARCHAR))',
            meta: 'STRUCT(created_at VARCHAR)'})`;
const events = `
    SELECT TRY_CAST(left(meta.created_at, 13) AS BIGINT) AS t,
        data.type AS type, nullif(data.attributes.user_id, '') AS u ${lines}`;
// Grouping twice is faster than count(DISTINCT u).
const byType = `
    SELECT day, type, sum(n)::BIGINT AS events, count(u) AS users
    FROM (
        SELECT t // 86400000 AS day, type, u, count(*) AS n
        FROM events WHERE t IS NOT NULL AND type IS NOT NULL
        GROUP BY ALL)
    GROUP BY day, type ORDER BY day, type`;
const byDay = `
    WITH ordered AS (
        SELECT u, t, t // 86400000 AS day,
            lag(t) OVER (PARTITION BY u ORDER BY t) AS before
        FROM events WHERE u IS NOT NULL AND t IS NOT NULL),
    sessions AS (
        SELECT day, count(*) AS n FROM ordered
        WHERE before IS NULL OR t - before > 1800000 GROUP BY day),
    seen AS (SELECT DISTINCT u, day FROM ordered),
    days AS (SELECT DISTINCT day FROM seen),
    now AS (
        SELECT a.day, count(*) AS users, count(b.u) AS active
        FROM seen a LEFT JOIN seen b ON a.u = b.u AND b.day = a.day - 1
        GROUP BY a.day)
    SELECT now.day, now.users, now.active,
        coalesce(y.users, 0) - now.active AS churned,
        now.users - now.active AS reactivated, sessions.n
    FROM now JOIN sessions ON sessions.day = now.day
        LEFT JOIN now y ON y.day = now.day - 1 ORDER BY 1`;

const dayText = (day) =>
    new Date(Number(day) * 86400000).toISOString().slice(0, 10);
const quoted = (text) => '"' + text.replaceAll('"', '""') + '"';

async function main() {
    const db = await DuckDBInstance.create(':memory:', { threads });
    const c = await db.connect();
    await c.run('SET preserve_insertion_order = false');
    // Both queries need the events; once is enough to read them.
    if (what === 'kpis')
        await c.run(`CREATE TEMP TABLE events AS ${events}`);
    else
        await c.run(`CREATE TEMP VIEW events AS ${events}`);
    for (const row of (await c.runAndReadAll(byType)).getRows())
        console.log([dayText(row[0]), quoted(row[1]), row[2], row[3]].join());
    if (what !== 'kpis') return;
    for (const row of (await c.runAndReadAll(byDay)).getRows())
        console.log('#' + [dayText(row[0]), ...row.slice(1)].join());
}

main().catch((error) => {
    console.error(`duckdb: ${error.message ?? error}`);
    process.exit(1);
});
