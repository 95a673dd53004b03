# ActiveRecord as Rails uses it: its own pool, prepared statements on. PREPARED=no is `prepared_statements: false`.
require "active_record"
require_relative "protocol"

# A class has one pool; each instance of the client makes a class of its own, as a process of Rails has one.
class Client
  @@made = 0
  @@lock = Mutex.new

  def initialize
    settings = { url: Protocol::URL, pool: 10 }
    settings[:prepared_statements] = false if ENV["PREPARED"] == "no"
    name = @@lock.synchronize { "Base#{@@made += 1}" }
    @base = Object.const_set(name, Class.new(ActiveRecord::Base) { self.abstract_class = true })
    @base.establish_connection(settings)
    @number = model("Number#{name}", "number")
    @witness = model("Witness#{name}", "witness")
  end

  def twice(n) = held { @number.find(n).twice }

  def insert(step, n) = held { @witness.create!(client: Protocol::CLIENT, step: step, n: n) }

  def pid = @base.connection.select_value("select pg_backend_pid()")

  def transaction
    held { @base.transaction { yield self } }
  end

  def prepared(n)
    held do
      @base.transaction do
        [@number.find(n).twice, @base.connection.select_value("select count(*) from pg_prepared_statements")]
      end
    end
  end

  # It keeps 1,000 for each connection. The bits of a number choose the conditions of a statement.
  def many
    transaction do
      (0...1_100).each do |each|
        bits = (0..10).map { |bit| each[bit] == 1 ? (0..) : (..1_000) }
        Protocol.same(bits.reduce(@number.where(n: 1)) { |found, range| found.where(n: range) }.sum(:twice), 2)
      end
    end
  end

  def close = @base.connection_handler.remove_connection_pool(@base.name)

  private

  # As a request of Rails, or a job: the connection goes back to the pool afterwards.
  def held(&work) = @base.connection_pool.with_connection(&work)

  def model(name, table)
    base = @base
    Object.const_set(name, Class.new(base) { self.table_name = table })
  end
end

Protocol.run { Client.new }
