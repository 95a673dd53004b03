# The gem pg with a connection for each thread, as it has no pool.
require "pg"
require_relative "protocol"

TWICE = "select twice from number where n = $1"
INSERT = "insert into witness (client, step, n) values ($1, $2, $3)"

Statements = Struct.new(:connection) do
  def twice(n) = connection.exec_params(TWICE, [n]).getvalue(0, 0).to_i

  def insert(step, n) = connection.exec_params(INSERT, [Protocol::CLIENT, step, n])

  def pid = connection.exec("select pg_backend_pid()").getvalue(0, 0).to_i
end

class Client
  def initialize
    @all = Queue.new
    @key = :"connection_#{object_id}"
  end

  def twice(n) = Statements.new(connection).twice(n)

  def insert(step, n) = Statements.new(connection).insert(step, n)

  def transaction
    connection.transaction { |own| yield Statements.new(own) }
  rescue PG::Error
    Thread.current[@key] = nil if connection.status != PG::CONNECTION_OK # the next transaction connects
    raise
  end

  # The connection keeps its statement from one transaction to the next.
  def prepared(n)
    own = connection
    own.transaction do
      unless own.instance_variable_get(:@twice)
        own.prepare("twice", TWICE)
        own.instance_variable_set(:@twice, true)
      end
      double = own.exec_prepared("twice", [n]).getvalue(0, 0).to_i
      [double, own.exec("select count(*) from pg_prepared_statements").getvalue(0, 0).to_i]
    end
  end

  def close
    @all.pop.close until @all.empty?
  end

  private

  def connection
    Thread.current[@key] ||= PG.connect(Protocol::URL).tap { |made| @all << made }
  end
end

Protocol.run { Client.new }
