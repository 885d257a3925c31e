// connect-pg-simple, unchanged, on bedplate's table `sessions`. Run by scripts/check-sessions-node.
const assert = require('node:assert');
const { promisify } = require('node:util');
const expressSession = require('express-session');
const PgStore = require('connect-pg-simple')(expressSession);
const { Pool } = require('pg');

const HOUR = 60 * 60 * 1000;

async function check(name, pool) {
  const store = new PgStore({ pool, tableName: 'sessions', pruneSessionInterval: false });
  const call = (method, ...args) => promisify(store[method].bind(store))(...args);
  const session = (n, ms) => ({ cookie: { expires: new Date(Date.now() + ms).toISOString() }, n });

  await call('set', name, session(1, HOUR));
  await call('set', name, session(2, HOUR));
  assert.equal((await call('get', name)).n, 2);
  await call('touch', name, session(2, 2 * HOUR));
  // The expiry is UTC, whatever zone this process and the server have.
  const { rows } = await pool.query("SELECT extract(epoch FROM expire AT TIME ZONE 'UTC') AS end FROM sessions WHERE sid = $1", [name]);
  assert.ok(Math.abs(Number(rows[0].end) * 1000 - (Date.now() + 2 * HOUR)) < 60000, `expires at ${rows[0].end}`);
  await call('set', `${name}-over`, session(1, -1000));
  assert.equal(await call('get', `${name}-over`), undefined);
  await call('pruneSessions');
  const left = await pool.query('SELECT sid FROM sessions WHERE starts_with(sid, $1)', [name]);
  assert.deepEqual(left.rows.map((row) => row.sid), [name]);

  // A request that loaded the session before it was revoked saves it at its end: it stays revoked.
  const late = await call('get', name);
  await call('destroy', name);
  assert.equal(await call('get', name), undefined);
  await call('set', name, { ...late, n: 3 });
  await call('touch', name, late);
  assert.equal(await call('get', name), undefined, 'a revoked session is back');

  // What jsonb cannot hold is an error, and the session stays as it was.
  const other = `${name}-other`;
  await call('set', other, session(4, HOUR));
  for (const text of ['a\u0000b', '\ud83d']) {
    await assert.rejects(call('set', other, { ...session(5, HOUR), text }), /unsupported Unicode escape|invalid input syntax/);
  }
  assert.equal((await call('get', other)).n, 4);
  await call('destroy', other);
  console.log(`connect-pg-simple works as ${name}, in zone ${process.env.TZ}.`);
}

(async () => {
  const owner = new Pool({ connectionString: process.env.OWNER_URL });
  // The application's login takes the role of sessions at connect.
  const app = new Pool({ connectionString: process.env.APP_URL, options: '-c role=bedplate_session' });
  // An id is used once: the next zone has others.
  const zone = process.env.TZ;
  await check(`the-owner-${zone}`, owner);
  await check(`the-application-${zone}`, app);
  await Promise.all([owner.end(), app.end()]);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
