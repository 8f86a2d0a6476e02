// read.js
//		A consumer in JavaScript: kafkajs and its schema registry client.
//
//	node read.js BROKERS REGISTRY DIR
//
// Decodes every record of the topics shop.*, folds them to rows, and writes
// DIR/<table>.json, and records.json with how many there were.
'use strict'

const fs = require('fs')
const { Kafka, logLevel } = require('kafkajs')
const { SchemaRegistry } = require('@kafkajs/confluent-schema-registry')
const avro = require('avsc')

const [brokers, host, folder] = process.argv.slice(2)

// Without this a long beyond 2^53 is an error.
const long = avro.types.LongType.__with({
  fromBuffer: (bytes) => bytes.readBigInt64LE(),
  toBuffer: (value) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(value)
    return bytes
  },
  fromJSON: BigInt,
  toJSON: String,
  isValid: (value) => typeof value === 'bigint',
  compare: (a, b) => (a < b ? -1 : a > b ? 1 : 0)
})

// Bytes, big-endian in two's complement, to the digits of a decimal
function decimal (bytes, scale) {
  let number = BigInt('0x' + (bytes.toString('hex') || '0'))
  if (bytes.length && bytes[0] & 0x80) number -= 1n << BigInt(8 * bytes.length)
  return scale > 0 ? `${number}e-${scale}` : `${number}e${-scale}`
}

// Without this a decimal is its bytes.
class Decimal extends avro.types.LogicalType {
  constructor (schema, options) {
    super(schema, options)
    this.scale = schema.scale || 0
  }

  _fromValue (bytes) { return decimal(bytes, this.scale) }
  _toValue () { throw new Error('not written here') }
}

const registry = new SchemaRegistry({ host }, {
  AVRO: {
    logicalTypes: { decimal: Decimal },
    typeHook: (schema) => {
      if (schema === 'long' || schema.type === 'long') return long
    }
  }
})

// What JSON has no type for
function plain (value) {
  if (typeof value === 'bigint') return String(value)
  if (Buffer.isBuffer(value)) return value.toString('base64')
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') {
    const names = Object.keys(value)
    // io.debezium.data.VariableScaleDecimal
    if (names.length === 2 && 'scale' in value && 'value' in value) return decimal(value.value, value.scale)
    return Object.fromEntries(names.map((name) => [name, plain(value[name])]))
  }
  return value
}

// A table that is made from its events
class Rows {
  constructor () {
    this.byKey = new Map()
    this.keyless = []
  }

  event (key, event) {
    if (key !== null) {
      const text = JSON.stringify(plain(key))
      if (event === null || event.op === 'd') this.byKey.delete(text)
      else this.byKey.set(text, plain(event.after))
      return
    }
    if (event.op === 'u' || event.op === 'd') {
      const before = JSON.stringify(plain(event.before))
      const at = this.keyless.findIndex((row) => JSON.stringify(row) === before)
      if (at < 0) throw new Error(`no such row: ${before}`)
      this.keyless.splice(at, 1)
    }
    if (event.op !== 'd') this.keyless.push(plain(event.after))
  }

  all () { return [...this.byKey.values(), ...this.keyless] }
}

async function main () {
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: brokers.split(','), logLevel: logLevel.ERROR })
  const admin = kafka.admin()
  await admin.connect()
  const topics = (await admin.listTopics()).filter((name) => name.startsWith('shop.'))
  const left = new Map()
  for (const topic of topics) {
    for (const { partition, high, low } of await admin.fetchTopicOffsets(topic)) {
      if (Number(high) > Number(low)) left.set(`${topic} ${partition}`, Number(high))
    }
  }
  await admin.disconnect()

  const tables = new Map(topics.map((topic) => [topic, { rows: new Rows(), count: 0 }]))
  const consumer = kafka.consumer({ groupId: 'kafkajs-reader', maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topics, fromBeginning: true })
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, (event) => reject(event.payload.error))
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ topic, partition, message }) => {
        const key = message.key === null ? null : await registry.decode(message.key)
        const event = message.value === null ? null : await registry.decode(message.value)
        const table = tables.get(topic)
        table.rows.event(key, event)
        table.count++
        if (event !== null) table.name = event.source.table
        const place = `${topic} ${partition}`
        if (Number(message.offset) + 1 >= left.get(place)) left.delete(place)
        if (left.size === 0) resolve()
      }
    }).catch(reject)
  })
  await consumer.disconnect()

  fs.mkdirSync(folder, { recursive: true })
  const records = []
  for (const [topic, { rows, count, name }] of tables) {
    fs.writeFileSync(`${folder}/${name}.json`, rows.all().map((row) => JSON.stringify(row) + '\n').join(''))
    records.push(JSON.stringify({ topic, records: count }) + '\n')
  }
  fs.writeFileSync(`${folder}/records.json`, records.join(''))
}

main().then(() => process.exit(0), (error) => {
  console.error(error)
  process.exit(1)
})
