// Runs the suite of cache-tests.fyi against the module in an nginx, and compares with missed.txt.
//
//   node run.mjs NGINX MODULE          everything
//   node run.mjs NGINX MODULE ID...    these tests, with what was sent and received
//
// It fails if a test that missed.txt does not name is missed, or one that it names is passed. A test that misses
// unexpectedly is run once more, alone: the suite waits by the clock, and on a busy machine a second can pass unseen.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const suite = path.join(here, 'node_modules', 'http-cache-tests')
const from = file => import(path.join(suite, file))
const { default: suites } = await from('tests/index.mjs')
const { default: surrogate } = await from('tests/surrogate-control.mjs')
const { makeCacheTest, testResults } = await from('client/test.mjs')
const config = await from('client/config.mjs')
const fetch = createRequire(path.join(suite, 'package.json'))('node-fetch')

const AT_ONCE = 100
const [nginx, module, ...wanted] = process.argv.slice(2)

// The tests that concern a cache that is no browser, in the suite's order.
const tests = [...suites, surrogate].flatMap(s => s.tests).filter(test => !test.browser_only)
const kind = test => test.kind ?? 'required'

// missed.txt: a test's name and why it is missed, a line each.
function readMissed () {
  const missed = new Map()
  for (const line of fs.readFileSync(path.join(here, 'missed.txt'), 'utf8').split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const [, id, reason] = line.match(/^(\S+)\s+(\S.*)$/) ?? []
    const test = tests.find(test => test.id === id)
    if (!reason) throw new Error(`missed.txt: no reason in "${line}"`)
    if (!test || kind(test) === 'check') throw new Error(`missed.txt: ${id} is no test that counts`)
    missed.set(id, reason)
  }
  return missed
}

function freePort () {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

async function answers (port, child) {
  for (let i = 0; i < 100; i++) {
    if (child.exitCode !== null) break
    const open = await new Promise(resolve => {
      const socket = net.connect(port, '127.0.0.1', () => resolve(socket.destroy() && true))
      socket.on('error', () => resolve(false))
    })
    if (open) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error(`nothing listens on port ${port}`)
}

const children = []
function start (command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options })
  child.done = new Promise(resolve => child.on('exit', resolve))
  children.push(child)
  return child
}

async function stopAll () {
  for (const child of children) child.kill('SIGTERM')
  await Promise.all(children.map(child => child.done))
}
process.on('exit', () => children.forEach(child => child.kill('SIGKILL')))

async function startOrigin (dir, port) {
  const env = { ...process.env, npm_config_protocol: 'http', npm_config_port: port, npm_config_pidfile: path.join(dir, 'origin.pid') }
  const loud = wanted.length > 0 ? { stdio: 'inherit' } : {}
  await answers(port, start('node', ['--no-warnings', path.join(suite, 'server', 'server.mjs')], { cwd: suite, env, ...loud }))
}

async function startNginx (dir, port, origin) {
  const values = { module: path.resolve(module), port, origin }
  const text = fs.readFileSync(path.join(here, 'nginx.conf'), 'utf8').replace(/@(\w+)@/g, (_, name) => values[name])
  fs.writeFileSync(path.join(dir, 'nginx.conf'), text)
  await answers(port, start(path.resolve(nginx), ['-p', `${dir}/`, '-c', 'nginx.conf', '-e', 'error.log']))
}

async function runAll (these) {
  for (let i = 0; i < these.length; i += AT_ONCE) {
    await Promise.all(these.slice(i, i + AT_ONCE).map(makeCacheTest))
  }
}

// As cache-tests.fyi counts: a test is passed only if those are that it builds on.
function passed (test) {
  const ids = test.depends_on ?? []
  return testResults[test.id] === true && ids.every(id => passed(tests.find(test => test.id === id)))
}

const why = test => testResults[test.id] === true
  ? `builds on ${test.depends_on.join(', ')}`
  : testResults[test.id].join(': ')

function alarms (dir) {
  const log = fs.readFileSync(path.join(dir, 'error.log'), 'utf8')
  return log.split('\n').filter(line => /\[(alert|emerg|crit)\]|panicked|exited on signal/.test(line))
}

function count (of) {
  const all = tests.filter(test => kind(test) === of)
  return `${all.filter(passed).length} of ${all.length}`
}

function compare (missed, dir) {
  const counted = tests.filter(test => kind(test) !== 'check')
  const complaints = [
    ...counted.filter(test => !passed(test) && !missed.has(test.id)).map(test => `missed: ${test.id} (${kind(test)}; ${test.name}): ${why(test)}`),
    ...counted.filter(test => passed(test) && missed.has(test.id)).map(test => `passed, take it out of missed.txt: ${test.id}`),
    ...alarms(dir).map(line => `error.log: ${line}`)
  ]
  complaints.forEach(line => console.log(line))
  console.log(`required ${count('required')}, optimal ${count('optimal')}; of ${tests.filter(t => kind(t) === 'check').length} ` +
    `questions about behaviour ${count('check').split(' ')[0]} are answered with yes`)
  return complaints.length === 0
}

async function everything (dir) {
  const missed = readMissed()
  await runAll(tests)
  const again = tests.filter(test => kind(test) !== 'check' && testResults[test.id] !== true && !missed.has(test.id))
  for (const test of again.slice(0, 10)) {
    delete testResults[test.id]
    await runAll([test])
    console.log(`once more: ${test.id}`)
  }
  return compare(missed, dir)
}

async function some (ids) {
  for (const id of ids) {
    const test = tests.find(test => test.id === id)
    if (!test) throw new Error(`${id} is no test`)
    test.requests.forEach(request => { request.dump = true })
    console.log(`\n==== ${id} (${kind(test)}): ${test.name}`)
    await runAll([{ ...test, dump: true }])
    console.log(testResults[id] === true ? 'passed' : testResults[id].join(': '))
  }
  return ids.every(id => testResults[id] === true)
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'swrcache-conformance-'))
fs.chmodSync(dir, 0o755)
fs.mkdirSync(path.join(dir, 'temp'))
fs.chmodSync(path.join(dir, 'temp'), 0o777)
let good = false
try {
  const [port, origin] = [await freePort(), await freePort()]
  await startOrigin(dir, origin)
  await startNginx(dir, port, origin)
  config.setFetch(fetch)
  config.setBaseUrl(`http://127.0.0.1:${port}`)
  good = wanted.length > 0 ? await some(wanted) : await everything(dir)
} finally {
  await stopAll()
  if (good) fs.rmSync(dir, { recursive: true })
  else console.log(`left for a look: ${dir}`)
}
process.exitCode = good ? 0 : 1
