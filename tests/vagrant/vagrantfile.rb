# SPDX-License-Identifier: MIT
# Prints as JSON what Vagrant takes from the Vagrantfile in the directory ARGV[0] for each machine; with
# a second argument it first does what our triggers in Ruby do at that action; "gone" as a third: the
# machine's domain proved to be gone. Asks no libvirt.
require "json"
require "vagrant"

Machine = Struct.new(:id)

env = Vagrant::Environment.new(cwd: ARGV[0])
shown = env.machine_names.to_h do |name|
  known = env.local_data_path.join("machines/#{name}/libvirt")
  id = known.join("id")
  config = env.vagrantfile.machine_config(name, :libvirt, env.boxes, known)[:config]
  at = config.trigger.before_triggers + config.trigger.after_triggers
  at = at.select { |trigger| trigger.command == ARGV[1]&.to_sym }
  machine = Machine.new(id.file? && ARGV[2] != "gone" ? id.read : nil)
  at.filter_map(&:ruby_block).each { |block| block.call(env, machine) }
  # As HandleBox does: Vagrant empties the directory of a machine that has no id yet
  env.machine(name, :libvirt, true) unless id.file?
  free = File.open("/run/lock/fusebpf-pool.up", File::RDWR | File::CREAT) do |lock|
    lock.flock(File::LOCK_EX | File::LOCK_NB)
  end
  libvirt = config.vm.get_provider_config(:libvirt)
  found = {
    box: config.vm.box, key: config.ssh.private_key_path[0], driver: libvirt.driver,
    kernel: libvirt.kernel, initrd: libvirt.initrd,
    coming_up: !free, then: at.map { |trigger| trigger.run&.args }
  }
  [name, found]
end
puts JSON.dump(shown)
