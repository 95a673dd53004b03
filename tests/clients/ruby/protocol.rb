# The cases of cases.toml for clients in Ruby. A program hands Protocol.run a block that makes its client.
#
# The client does what it does by default, serves threads, and has:
#
#   twice(n)           a query with a parameter: the double of n
#   insert(step, n)    one row of `witness`
#   transaction { |t| }   gives t.twice, t.insert and t.pid; an exception rolls back and goes on
#   prepared(n)        as twice, and how many prepared statements PostgreSQL has: [double, count]
#   many               a transaction of more prepared statements than it keeps, if it forgets some
#   close
require "json"

module Protocol
  CLIENT = ENV.fetch("CLIENT")
  URL = ENV.fetch("DATABASE_URL")

  # What rolls a transaction back.
  class OnPurpose < StandardError; end

  module_function

  # Run the cases that the arguments name, print a line for each, and end the process.
  def run(&make)
    client = nil
    ARGV.each do |step|
      line = { case: step, ok: true }
      begin
        case step
        when "instances" then instances(make)
        when "cold" then make.call.insert("cold", 1)
        when "roll" then line.update(roll(make))
        else send("run_#{step}", client ||= make.call)
        end
      rescue StandardError => error
        line.update(ok: false, error: words(error))
      end
      puts JSON.generate(line)
      $stdout.flush
    end
    client&.close
    exit!(0)
  end

  def words(error)
    "#{error.class}: #{error.message.strip.lines.first.to_s.strip}"
  end

  def same(found, wanted)
    raise "#{found} instead of #{wanted}" unless found == wanted
  end

  def run_defaults(client)
    workers(8) { |worker| (worker * 25 + 1..worker * 25 + 25).each { |n| same(client.twice(n), 2 * n) } }
  end

  def run_prepared(client)
    counts = workers(8) do |worker|
      (worker + 1..worker + 10).map do |n|
        double, count = client.prepared(n)
        same(double, 2 * n)
        count
      end
    end
    raise "PostgreSQL has no prepared statement" unless counts.flatten.max.positive?
  end

  def run_transaction(client)
    workers(8) { |worker| client.transaction { |t| 2.times { t.insert("transaction", worker) } } }
  end

  def run_rollback(client)
    workers(8) do |worker|
      client.transaction do |t|
        t.insert("rollback", worker)
        raise OnPurpose
      end
    rescue OnPurpose
      same(client.twice(worker + 1), 2 * (worker + 1))
    end
  end

  def run_interactive(client)
    workers(4) do |worker|
      client.transaction do |t|
        pid = t.pid
        value = t.twice(worker + 1)
        sleep(0.02)
        t.insert("interactive", value)
        same(t.pid, pid)
      end
    end
  end

  def run_many(client) = client.many

  def instances(make)
    workers(10) do
      10.times do |round|
        client = make.call
        client.insert("instances", round)
        client.close
      end
    end
  end

  def roll(make)
    client = make.call
    ended = false
    Thread.new { $stdin.read; ended = true }
    done = failed = 0
    last = ""
    workers(4) do |worker|
      until ended
        sleep(0.04)
        begin
          client.transaction { |t| t.insert("roll", worker) }
          done += 1
        rescue StandardError => error
          failed += 1
          last = words(error)
        end
      end
    end
    client.close
    { done: done, failed: failed, error: last }
  end

  def workers(count)
    threads = (0...count).map { |worker| Thread.new { Thread.current.report_on_exception = false; yield worker } }
    threads.map(&:value)
  end
end
