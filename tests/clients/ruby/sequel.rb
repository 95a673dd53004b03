# Sequel on the gem pg, with its own pool.
require "sequel"
require_relative "protocol"

class Client
  def initialize
    @database = Sequel.connect(Protocol::URL)
    @database[:number].columns
  end

  def twice(n) = @database[:number].where(n: n).get(:twice)

  def insert(step, n) = @database[:witness].insert(client: Protocol::CLIENT, step: step, n: n)

  def pid = @database.get(Sequel.function(:pg_backend_pid))

  def transaction
    @database.transaction { yield self }
  end

  def prepared(n)
    @database.transaction do
      double = @database[:number].where(n: :$n).prepare(:first, :twice).call(n: n)[:twice]
      [double, @database[:pg_prepared_statements].count]
    end
  end

  def close = @database.disconnect
end

Protocol.run { Client.new }
